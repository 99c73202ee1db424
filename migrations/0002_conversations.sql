-- Conversations and their append-only turns. An edit or a regeneration is a new row that names the one it replaces.
create table conversations (
  conversation_id uuid primary key,
  user_id uuid not null references users,
  org_id uuid not null references organisations,
  model text not null,
  region text not null,
  system_prompt text,
  title text,
  summary text,
  summary_through_turn_id uuid,
  -- The leaf of the branch that a turn without parent_turn_id continues.
  active_turn_id uuid,
  -- Memory extraction has seen everything up to this turn.
  memory_through_turn_id uuid,
  training_eligible boolean not null default false,
  archived_at timestamptz,
  created_at timestamptz not null default now(),
  last_turn_at timestamptz not null default now()
);
create index conversations_of_user on conversations (user_id, last_turn_at desc, conversation_id desc);
create index conversations_idle on conversations (last_turn_at)
  where active_turn_id is not null and memory_through_turn_id is distinct from active_turn_id;

-- Partitioned by month of turn_id, which as a UUIDv7 is its time of creation: so (conversation_id, turn_id) stays a
-- legal primary key. There is no default partition: it would turn every history page into a merge over all months.
create table turns (
  turn_id uuid not null,
  conversation_id uuid not null,
  user_id uuid not null,
  role text not null check (role in ('user', 'assistant')),
  content text not null,
  token_count integer,
  parent_turn_id uuid,
  replaces_turn_id uuid,
  model text,
  served_model text,
  pool text,
  finish_reason text check (finish_reason in ('stop', 'length', 'cancelled', 'content_filter', 'error')),
  error_code text,
  usage jsonb,
  moderation_verdict jsonb,
  -- How the reply was streamed: element i is the length of the text (UTF-16 units) after log entry i + 1, so that a
  -- reader can resume at any entry when the log has expired.
  stream_offsets integer[],
  created_at timestamptz not null default now(),
  primary key (conversation_id, turn_id)
) partition by range (turn_id);

-- The smallest UUIDv7 of a moment: 48 bits of ms since the epoch, version 7, variant 10, zeros.
create function uuidv7_floor(moment timestamptz) returns uuid language sql immutable strict as $$
  select (lpad(to_hex((extract(epoch from moment) * 1000)::bigint), 12, '0') || '70008000000000000000')::uuid
$$;

-- Creates the month partitions that hold [from_moment, from_moment + num_months], idempotently; returns how many were made.
create function create_turn_partitions(from_moment timestamptz, num_months integer) returns integer language plpgsql as $$
declare
  month timestamptz := date_trunc('month', from_moment, 'UTC');
  name text;
  made integer := 0;
begin
  perform pg_advisory_xact_lock(hashtext('create_turn_partitions'));
  for _ in 0..num_months loop
    name := 'turns_' || to_char(month at time zone 'UTC', 'YYYY_MM');
    if to_regclass(name) is null then
      execute format('create table %I partition of turns for values from (%L) to (%L)',
        name, uuidv7_floor(month), uuidv7_floor(date_trunc('month', month + interval '32 days', 'UTC')));
      made := made + 1;
    end if;
    month := date_trunc('month', month + interval '32 days', 'UTC');
  end loop;
  return made;
end
$$;

-- One row per accepted POST …/turns: the durable record of what was asked, written before the workflow starts. It maps
-- Idempotency-Keys and knows which turns run. `content` leaves for `turns` as soon as the workflow stores the user turn.
create table turn_requests (
  turn_id uuid primary key,
  user_turn_id uuid not null,
  conversation_id uuid not null,
  user_id uuid not null,
  -- The turn below which this one is appended: of the user turn, or the user turn itself when its reply is regenerated.
  parent_turn_id uuid,
  replaces_turn_id uuid,
  is_regeneration boolean not null default false,
  content text,
  params jsonb not null,
  model text not null,
  pool text not null,
  idempotency_key text,
  body_hash bytea,
  created_at timestamptz not null default now(),
  ended_at timestamptz
);
create unique index turn_requests_key on turn_requests (user_id, idempotency_key) where idempotency_key is not null;
create unique index turn_requests_running on turn_requests (conversation_id, coalesce(parent_turn_id, conversation_id))
  where ended_at is null;
create index turn_requests_conversation on turn_requests (conversation_id);
create index turn_requests_open on turn_requests (created_at) where ended_at is null;
