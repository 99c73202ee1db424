-- What older turns of a conversation are told by in a prompt: a node is the summary of a path of turns (level 0: of turns,
-- above: of nodes). A path has one way up to the root, so a node holds for every branch that its last turn is on. Append-only.
create table conversation_summaries (
  conversation_id uuid not null references conversations on delete cascade,
  node_id uuid not null,
  level smallint not null check (level >= 0),
  -- The turn before the first: the last one of the node before. Null at the root.
  parent_turn_id uuid,
  first_turn_id uuid not null,
  last_turn_id uuid not null,
  text text not null,
  token_count integer not null check (token_count >= 0),
  model text not null,
  -- The conversation's summary_version that it came with; null until all that is made together is there.
  version integer,
  created_at timestamptz not null default now(),
  primary key (conversation_id, node_id)
);
-- Making a node twice changes nothing; and the highest node that ends at a turn is found at once.
create unique index conversation_summaries_range
  on conversation_summaries (conversation_id, last_turn_id, level, first_turn_id);

alter table conversations
  add column summary_version integer not null default 0,
  -- The sweep has looked at the conversation as this turn left it.
  add column summary_seen_turn_id uuid;
create index conversations_unsummarised on conversations (last_turn_at)
  where active_turn_id is not null and summary_seen_turn_id is distinct from active_turn_id;

alter table turn_requests
  -- With summarised_through, fixed at acceptance: summaries of later versions are not in this turn's prompt.
  add column summary_version integer not null default 0,
  -- Of the user's text, by the served model's tokenizer; null where the gateway had none.
  add column token_count integer check (token_count >= 0),
  -- SHA-256 of the prompt's token ids (32 bits each, little-endian) as the engine got them.
  add column prompt_sha256 bytea;
-- Facts that earlier turns showed are shown again where they were.
create index turn_requests_with_facts on turn_requests (conversation_id, turn_id) where fact_ids <> '{}';
