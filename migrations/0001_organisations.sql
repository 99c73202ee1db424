-- Who may call: organisations, their users, and the hashed bearer tokens of users.
create extension if not exists vector;

create table organisations (
  org_id uuid primary key default uuidv7(),
  name text not null,
  created_at timestamptz not null default now()
);

create table users (
  user_id uuid primary key default uuidv7(),
  org_id uuid not null references organisations,
  name text not null,
  tier text not null check (tier in ('free', 'paid', 'enterprise')),
  role text not null default 'member' check (role in ('member', 'admin')),
  created_at timestamptz not null default now(),
  disabled_at timestamptz
);

-- Only the SHA-256 of a token is kept; key_prefix is what a list may show.
create table api_keys (
  key_hash bytea primary key,
  key_prefix text not null,
  user_id uuid not null references users on delete cascade,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz
);
create index api_keys_user on api_keys (user_id);
