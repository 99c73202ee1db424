// Totals of the ledger for one user.
import type { UserId } from '../contracts/ids.ts';
import { rows } from './pool.ts';
import type { Db } from './pool.ts';

export interface UsageTotals {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens: number;
  readonly costUsd: number;
}

export interface UsageReport extends UsageTotals {
  readonly byModel: readonly (UsageTotals & { readonly model: string })[];
  /** `day` is YYYY-MM-DD in UTC, newest first. */
  readonly byDay: readonly (UsageTotals & { readonly day: string })[];
}

/** All three from one pass over the user's rows. */
export async function usageOf(db: Db, userId: UserId): Promise<UsageReport> {
  const found = await rows<UsageRow>(
    db,
    `select model, to_char(created_at at time zone 'UTC', 'YYYY-MM-DD') as day, grouping(model, created_at) as level,
       coalesce(sum(prompt_tokens), 0)::bigint as prompt, coalesce(sum(completion_tokens), 0)::bigint as completion,
       coalesce(sum(cached_tokens), 0)::bigint as cached, coalesce(sum(cost_usd), 0) as cost
     from (select model, date_trunc('day', created_at, 'UTC') as created_at, prompt_tokens, completion_tokens, cached_tokens, cost_usd
       from ledger where user_id = $1) own
     group by grouping sets ((model), (created_at), ()) order by created_at desc, model`,
    [userId],
  );
  const none: UsageTotals = { promptTokens: 0, completionTokens: 0, cachedTokens: 0, costUsd: 0 };
  const total = found.find((each) => each.level === 3);
  return {
    ...(total === undefined ? none : toTotals(total)),
    byModel: found.flatMap((each) =>
      each.level === 1 && each.model !== null ? [{ model: each.model, ...toTotals(each) }] : [],
    ),
    byDay: found.flatMap((each) =>
      each.level === 2 && each.day !== null ? [{ day: each.day, ...toTotals(each) }] : [],
    ),
  };
}

interface UsageRow {
  model: string | null;
  day: string | null;
  /** 1 = by model, 2 = by day, 3 = everything. */
  level: number;
  prompt: number;
  completion: number;
  cached: number;
  cost: number;
}

function toTotals(each: UsageRow): UsageTotals {
  return {
    promptTokens: each.prompt,
    completionTokens: each.completion,
    cachedTokens: each.cached,
    costUsd: each.cost,
  };
}
