// Counts of a day by organisation, from the ledger. A day is the UTC day of a turn's id, which is when it was accepted.
import { rows } from './pool.ts';
import type { Db } from './pool.ts';

/**
 * Days of the ledger behind `after`, oldest first, whose counts are absent or not final: a turn may end after its day,
 * so counts are final when they were made a day after it was over.
 * @returns dates, YYYY-MM-DD
 */
export async function openDays(db: Db, after: string | null, limit: number): Promise<string[]> {
  // The next day that has a turn is one look into the primary key, however many turns a day has.
  const found = await rows<{ day: string }>(
    db,
    `with recursive days(day) as (
       (select (uuid_extract_timestamp(turn_id) at time zone 'UTC')::date from ledger
        where turn_id >= uuidv7_floor(coalesce($1::date + 1, '2000-01-01')::timestamp at time zone 'UTC')
        order by turn_id limit 1)
       union all
       select (select (uuid_extract_timestamp(turn_id) at time zone 'UTC')::date from ledger
               where turn_id >= uuidv7_floor((days.day + 1)::timestamp at time zone 'UTC')
               order by turn_id limit 1)
       from days where days.day is not null
     )
     select to_char(day, 'YYYY-MM-DD') as day from days
     where day is not null and not exists (
       select 1 from daily_statistics s
       where s.day = days.day and s.computed_at >= (days.day + 2)::timestamp at time zone 'UTC')
     order by days.day limit $2`,
    [after, limit],
  );
  return found.map(({ day }) => day);
}

/** Counts one day anew; a repeat gives the same rows. */
export async function countDay(db: Db, day: string): Promise<void> {
  await rows(
    db,
    `with own as (
       select * from ledger
       where turn_id >= uuidv7_floor($1::date::timestamp at time zone 'UTC')
         and turn_id < uuidv7_floor(($1::date + 1)::timestamp at time zone 'UTC') and serves_owner(user_id)
     ), outcomes as (
       select org_id, jsonb_object_agg(finish_reason, turns) as outcomes
       from (select org_id, finish_reason, count(*) as turns from own group by org_id, finish_reason) each
       group by org_id
     ), gone as (
       delete from daily_statistics where day = $1::date and org_id not in (select org_id from own)
     )
     insert into daily_statistics (day, org_id, turns, users, conversations, prompt_tokens, completion_tokens,
       cached_tokens, cost_usd, outcomes)
     select $1::date, own.org_id, count(*), count(distinct user_id), count(distinct conversation_id),
       sum(prompt_tokens), sum(completion_tokens), sum(cached_tokens), sum(cost_usd), outcomes.outcomes
     from own join outcomes using (org_id) group by own.org_id, outcomes.outcomes
     on conflict (day, org_id) do update set turns = excluded.turns, users = excluded.users,
       conversations = excluded.conversations, prompt_tokens = excluded.prompt_tokens,
       completion_tokens = excluded.completion_tokens, cached_tokens = excluded.cached_tokens,
       cost_usd = excluded.cost_usd, outcomes = excluded.outcomes, computed_at = excluded.computed_at`,
    [day],
  );
}
