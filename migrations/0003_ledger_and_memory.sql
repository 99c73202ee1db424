-- Money: one row per turn and exit, append-only. Facts about a user, with room for any embedding up to 1536 wide.
create table ledger (
  turn_id uuid primary key,
  user_id uuid not null,
  org_id uuid not null,
  conversation_id uuid not null,
  model text not null,
  finish_reason text not null,
  prompt_tokens integer not null check (prompt_tokens >= 0),
  completion_tokens integer not null check (completion_tokens >= 0),
  cached_tokens integer not null check (cached_tokens between 0 and prompt_tokens),
  cost_usd numeric(14, 9) not null check (cost_usd >= 0),
  created_at timestamptz not null default now()
);
create index ledger_of_user on ledger (user_id, created_at);

create table user_memory (
  user_id uuid not null references users on delete cascade,
  fact_id uuid not null,
  text text not null,
  embedding vector(1536),
  source_turn_id uuid,
  created_at timestamptz not null default now(),
  primary key (user_id, fact_id)
);
