-- What operators see of a day, by organisation, counted from the ledger; the day is the one on which a turn was accepted,
-- in UTC. Every database counts the owners whose rows it holds. Counts only, so nothing of a user is in it, and no foreign
-- key: a database may hold owners without their organisation.
create table daily_statistics (
  day date not null,
  org_id uuid not null,
  turns integer not null,
  users integer not null,
  conversations integer not null,
  prompt_tokens bigint not null,
  completion_tokens bigint not null,
  cached_tokens bigint not null,
  cost_usd numeric(18, 9) not null,
  -- Finish reason → turns.
  outcomes jsonb not null,
  computed_at timestamptz not null default now(),
  primary key (day, org_id)
);
select raise_walls();
