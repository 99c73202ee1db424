-- Long-term memory: where each fact came from, what was removed, how often a fact is used, and who wants none of it.
create table user_settings (
  user_id uuid primary key references users on delete cascade,
  memory_enabled boolean not null default true,
  -- What a new conversation begins with.
  training_eligible boolean not null default false
);

alter table conversations
  add column memory_enabled boolean not null default true,
  -- A sweep has handed it to an extraction; until then no other one takes it.
  add column memory_claimed_until timestamptz;

alter table user_memory
  add column embedding_model text,
  -- Of what a user has one at a time (a name, a home); null otherwise.
  add column topic text,
  -- Of the normalised text: an equal one is the same fact.
  add column text_hash bytea,
  -- A newer wording of it, or a newer value of its topic: it is hidden, and comes back when that one goes with its conversation.
  add column superseded_by uuid,
  add column last_used_at timestamptz,
  add column use_count integer not null default 0,
  add foreign key (user_id, superseded_by) references user_memory (user_id, fact_id) on delete set null (superseded_by),
  -- In its row, a page for each fact, and not aside: a scan of 200 facts takes 0.4 ms instead of 1.9.
  alter column embedding set storage main;
create index user_memory_superseded on user_memory (user_id, superseded_by) where superseded_by is not null;

-- One row for each turn that stated a fact. It outlives a fact that was removed (fact_id is null then) and keeps it from
-- coming back from the same turn; it holds a hash, no text.
create table memory_sources (
  user_id uuid not null references users on delete cascade,
  source_turn_id uuid not null,
  conversation_id uuid not null references conversations on delete cascade,
  text_hash bytea not null,
  fact_id uuid,
  primary key (user_id, source_turn_id, text_hash),
  foreign key (user_id, fact_id) references user_memory (user_id, fact_id) on delete set null (fact_id)
);
create index memory_sources_of_fact on memory_sources (user_id, fact_id) where fact_id is not null;
create index memory_sources_of_conversation on memory_sources (conversation_id);
