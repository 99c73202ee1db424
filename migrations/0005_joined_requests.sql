-- Somebody was told that the turn is taken (a repeat of its request), so the request that made it may not take it back.
alter table turn_requests add column joined_at timestamptz;
