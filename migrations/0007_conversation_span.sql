-- The newest turn stored in a conversation, so that a page of its turns asks no month behind it. Null in rows from before;
-- the oldest turn needs no column: turns are made after their conversation, whose id is a UUIDv7 too.
alter table conversations add column last_turn_id uuid;
