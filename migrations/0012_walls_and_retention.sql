-- The second wall (decision 0021): the role that processes run as, which rows it sees, what it may do. And how long an
-- organisation keeps what its users said, and what was erased.

-- Roles belong to the server, not to a database: another database's migration may have made it, perhaps a moment ago. It
-- gets its password from whoever sets the server up.
do $$ begin
  if not exists (select from pg_roles where rolname = 'colloquy_app') then
    create role colloquy_app nologin;
  end if;
exception when duplicate_object or unique_violation then null;
end $$;

-- Days that turns are kept: null = as the user's tier says (config/catalog.yaml), 0 = for ever.
alter table organisations add column retention_days integer check (retention_days >= 0);

-- What was erased, by whom nobody can tell any more: ids that name nothing, and counts. Never a text.
create table erasures (
  erasure_id uuid primary key default uuidv7(),
  kind text not null check (kind in ('conversation', 'user', 'organisation', 'retention')),
  subject_id uuid not null,
  counts jsonb not null,
  erased_at timestamptz not null default now(),
  -- When what the databases' files kept of it was cleaned away.
  scrubbed_at timestamptz
);
create index erasures_unscrubbed on erasures (erased_at) where scrubbed_at is null;

-- Whom the statement is run for; null when nobody said.
create function app_user_id() returns uuid language sql stable as $$
  select case when current_setting('app.user_id', true) ~ '^[0-9a-f-]{36}$' then current_setting('app.user_id', true)::uuid end
$$;
-- 'directory' looks callers up by their keys, 'sweep' does the background's work over everybody.
create function app_sight() returns text language sql stable as $$ select coalesce(current_setting('app.user_id', true), '') $$;

-- Puts every table behind the wall: policies, rights, and no samples of texts in the planner's statistics, where they would
-- outlive their rows. A migration that makes a table ends with `select raise_walls()`; a test looks for tables without.
create function raise_walls() returns void language plpgsql as $$
declare
  each record;
  owned text;
begin
  for each in
    select c.oid, c.relname as name,
      exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'user_id' and not a.attisdropped) as has_user,
      exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'conversation_id' and not a.attisdropped) as has_conversation
    from pg_class c
    where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
  loop
    execute format('revoke all on %I from colloquy_app, public', each.name);
    execute format(case each.name
      when 'schema_migrations' then 'grant select on %I to colloquy_app'
      when 'organisations' then 'grant select, delete on %I to colloquy_app'
      when 'users' then 'grant select, update, delete on %I to colloquy_app'
      when 'api_keys' then 'grant select, delete on %I to colloquy_app'
      -- Append-only, but for whose it was.
      when 'ledger' then 'grant select, insert, update (user_id, conversation_id) on %I to colloquy_app'
      else 'grant select, insert, update, delete on %I to colloquy_app'
    end, each.name);
    owned := case
      when each.name in ('users', 'api_keys')
        then 'user_id = (select app_user_id()) or (select app_sight()) in (''directory'', ''sweep'')'
      when each.has_user then 'user_id = (select app_user_id()) or (select app_sight()) = ''sweep'''
      when each.has_conversation
        then '(select app_sight()) = ''sweep'' or conversation_id in (select conversation_id from conversations where user_id = (select app_user_id()))'
      when each.name = 'erasures' then '(select app_sight()) in (''directory'', ''sweep'')'
    end;
    continue when owned is null;
    execute format('alter table %I enable row level security', each.name);
    execute format('drop policy if exists own_rows on %I', each.name);
    execute format('create policy own_rows on %I for all to colloquy_app using (%s)', each.name, owned);
    perform forget_samples(each.oid);
  end loop;
  grant usage on all sequences in schema public to colloquy_app;
end
$$;

-- Columns that may hold what somebody wrote have no statistics; names from short lists keep theirs.
create function forget_samples(owned regclass) returns void language plpgsql as $$
declare
  name text;
begin
  for name in
    select attname from pg_attribute
    where attrelid = owned and attnum > 0 and not attisdropped
      and format_type(atttypid, null) in ('text', 'jsonb', 'json', 'bytea', 'vector', 'text[]', 'tsvector')
      and attname not in ('role', 'model', 'served_model', 'pool', 'region', 'tier', 'finish_reason', 'error_code', 'kind', 'state', 'status')
  loop
    execute format('alter table %s alter column %I set statistics 0', owned, name);
  end loop;
end
$$;

-- As before, with two differences: it runs with its owner's rights, because processes have none to create tables, and it gives
-- up rather than making turns wait behind it.
create or replace function create_turn_partitions(from_moment timestamptz, num_months integer) returns integer
language plpgsql security definer set search_path from current set lock_timeout = '2s' as $$
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
      -- Nobody reads a month but through its parent, whose policy then holds.
      execute format('alter table %I enable row level security', name);
      perform forget_samples(name::regclass);
      made := made + 1;
    end if;
    month := date_trunc('month', month + interval '32 days', 'UTC');
  end loop;
  return made;
end
$$;
revoke execute on function create_turn_partitions(timestamptz, integer) from public;
grant execute on function create_turn_partitions(timestamptz, integer) to colloquy_app;

do $$
declare
  month regclass;
begin
  for month in select inhrelid from pg_inherits where inhparent = 'turns'::regclass loop
    execute format('alter table %s enable row level security', month);
  end loop;
  execute format('revoke temporary on database %I from public', current_database());
end $$;
select raise_walls();
