// What tells a branch up to one of its turns: the highest summary that ends there, the highest that ends before it, and so on
// up to the root.
import type { ConversationId, TurnId } from '../contracts/ids.ts';
import { row } from './pool.ts';
import type { Db } from './pool.ts';

export interface SummaryRow {
  readonly nodeId: string;
  readonly level: number;
  readonly parentTurnId: TurnId | null;
  readonly firstTurnId: TurnId;
  readonly lastTurnId: TurnId;
  readonly text: string;
}

/**
 * A select of one value: the cover as JSON, oldest first; null when no summary ends at `through`. A summary that ends on the
 * branch is the branch's, since its path up is the only one; so the walk need not look at turns.
 * @param through SQL of the turn where the last one ends
 * @param version SQL: later ones are not there
 */
export function coverFrom(through: string, conversationId: string, version: string): string {
  const highest = (end: string): string => `
    select * from conversation_summaries s
    where s.conversation_id = ${conversationId} and s.last_turn_id = ${end} and s.version <= ${version}
    order by s.level desc limit 1`;
  return `
    with recursive cover as (
      (${highest(through)})
      union all
      select before.* from cover cross join lateral (${highest('cover.parent_turn_id')}) before
    )
    select json_agg(json_build_object('nodeId', node_id, 'level', level, 'parentTurnId', parent_turn_id,
      'firstTurnId', first_turn_id, 'lastTurnId', last_turn_id, 'text', text) order by last_turn_id)
    from cover`;
}

/**
 * The cover that ends at the newest of some turns at which one ends; empty when none does.
 * @param turnIds of one branch
 */
export async function newestCover(
  db: Db,
  conversationId: ConversationId,
  turnIds: readonly TurnId[],
  version: number,
): Promise<readonly SummaryRow[]> {
  const found = await row<{ cover: SummaryRow[] | null }>(db, NEWEST_COVER, [
    conversationId,
    turnIds,
    version,
  ]);
  return found?.cover ?? [];
}

const NEWEST_COVER = `
  select (${coverFrom('newest.last_turn_id', '$1', '$3')}) as cover from (
    select last_turn_id from conversation_summaries
    where conversation_id = $1 and last_turn_id = any($2::uuid[]) and version <= $3
    order by last_turn_id desc limit 1
  ) newest`;
