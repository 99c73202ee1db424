-- Several replies to one request are siblings: turns of their own. sample_index says which one a turn is; null where the
-- request asked for one.
alter table turns add column sample_index smallint;
