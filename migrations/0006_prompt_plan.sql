-- What a turn's prompt is made of besides its branch, fixed when the turn is accepted: every attempt, and whoever asks
-- later, assembles the same prompt.
alter table turn_requests
  -- Facts of the user's memory that were chosen for this turn, best first.
  add column fact_ids uuid[],
  -- Turns up to this one may be told by the conversation's summaries.
  add column summarised_through uuid;
-- Counts the changes of a conversation that a reader can see (a turn stored, a title): what is kept beside the store says
-- of which version it is.
alter table conversations add column version bigint not null default 0;
