-- Owners' rows over several databases: 256 slots by hash of the owner, docs/sharding.md. With one database nothing here is
-- consulted: the guards below become triggers only when a second one is added (postgres/shard-setup.ts).

-- The same as slotOf() in postgres/shard-slots.ts.
create function slot_of(owner uuid) returns smallint language sql immutable strict parallel safe
  return get_byte(sha256(uuid_send(owner)), 0)::smallint;

-- In the directory (shard 0): where to ask. A hint: what counts is what the shard itself says.
create table shard_map (
  slot smallint primary key check (slot between 0 and 255),
  shard smallint not null default 0 check (shard >= 0),
  version bigint not null default 0,
  moved_at timestamptz
);
insert into shard_map (slot) select generate_series(0, 255);

-- In the directory: slots on their way. switched_at: the target serves, the source has copies left to delete.
create table slot_moves (
  slot smallint primary key,
  move_id uuid not null default uuidv7(),
  source smallint not null,
  target smallint not null check (target <> source),
  started_at timestamptz not null default now(),
  switched_at timestamptz
);

-- On every shard: what it serves. owned and copied (each change is noted for a move) are served, left and incoming are not.
create table shard_slots (
  slot smallint primary key,
  state text not null check (state in ('owned', 'copied', 'left', 'incoming')),
  move_id uuid
);

-- On the source of a move: keys of rows that changed since it began.
create table slot_changes (
  change_id bigint generated always as identity primary key,
  slot smallint not null,
  table_name text not null,
  key jsonb not null
);
create index slot_changes_of_slot on slot_changes (slot, change_id);

-- Always empty: a statement that inserts here asks to be refused unless the slot is served (postgres/shard-guard.ts).
create table slot_guard (slot smallint not null);

-- Says that the slot is served here, and keeps it so until the transaction ends: a move takes the same lock exclusively.
-- The look-up comes after the lock, in a snapshot of its own. `moved` is the move that is under way, at its work.
create function hold_slot(asked smallint) returns text language plpgsql security definer as $$
declare
  held public.shard_slots;
begin
  perform pg_advisory_xact_lock_shared(7061, asked);
  select * into held from public.shard_slots where slot = asked;
  if held.state = 'owned' or held.state = 'copied' then
    return held.state;
  end if;
  if held.move_id::text = current_setting('colloquy.move', true) then
    return 'moved';
  end if;
  raise exception 'slot % is not served here', asked using errcode = 'SH001';
end
$$;

create function guard_slot() returns trigger language plpgsql as $$
begin
  perform hold_slot(new.slot);
  return null;
end
$$;
create trigger guard before insert on slot_guard for each row execute function guard_slot();

create function note_slot_change(changed_slot smallint, changed_table text, key_columns text, changed jsonb) returns void
language sql security definer
begin atomic
  insert into public.slot_changes (slot, table_name, key)
  select changed_slot, changed_table, jsonb_object_agg(key, value) from jsonb_each(changed)
  where key = any (string_to_array(key_columns, ','));
end;

-- Trigger of a table with user_id. Arguments: the table (a partition has another name), its key columns.
create function guard_owned_row() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' then
    if hold_slot(slot_of(old.user_id)) = 'copied' then
      perform note_slot_change(slot_of(old.user_id), tg_argv[0], tg_argv[1], to_jsonb(old));
    end if;
    return old;
  end if;
  if hold_slot(slot_of(new.user_id)) = 'copied' then
    perform note_slot_change(slot_of(new.user_id), tg_argv[0], tg_argv[1], to_jsonb(new));
  end if;
  return new;
end
$$;

-- Trigger of a table that knows its owner only through conversation_id. A row that goes with its conversation has none any
-- more: the conversation's own guard has spoken for it.
create function guard_row_of_conversation() returns trigger language plpgsql as $$
declare
  changed jsonb := case when tg_op = 'DELETE' then to_jsonb(old) else to_jsonb(new) end;
  row_slot smallint;
begin
  select slot_of(c.user_id) into row_slot from public.conversations c
  where c.conversation_id = (changed ->> 'conversation_id')::uuid;
  if row_slot is not null and hold_slot(row_slot) = 'copied' then
    perform note_slot_change(row_slot, tg_argv[0], tg_argv[1], changed);
  end if;
  if tg_op = 'DELETE' then
    return old;
  end if;
  return new;
end
$$;

-- Whether this database serves an owner: sweeps over all rows of a database leave out what is on its way.
create function serves_owner(owner uuid) returns boolean language sql stable parallel safe
begin atomic
  select not exists (select from shard_slots)
    or exists (select from shard_slots where slot = slot_of(owner) and state in ('owned', 'copied'));
end;

-- The last steps of a move, each idempotent; whoever finds a move between them may take them.
create function slot_arrived(arrived smallint, by_move uuid) returns void language sql security definer
begin atomic
  update public.shard_slots set state = 'owned', move_id = null
  where slot = arrived and move_id = by_move and state = 'incoming';
end;

create function slot_switched(switched smallint, by_move uuid) returns void language sql security definer
begin atomic
  with done as (
    update public.slot_moves set switched_at = now()
    where slot = switched and move_id = by_move and switched_at is null
    returning target
  )
  update public.shard_map
  set shard = done.target, version = (select max(version) + 1 from public.shard_map), moved_at = now()
  from done where slot = switched;
end;
