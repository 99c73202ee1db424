// The branch that a prompt is about, read from its newest end: as many turns as the prompt can show, and what tells the rest.
import type { Catalog } from '../contracts/catalog.ts';
import type { ConversationId, TurnId } from '../contracts/ids.ts';
import { branchTo } from '../conversation/branch.ts';
import { newestWithin } from '../conversation/stored-cost.ts';
import { recentTurns } from '../postgres/conversation-prompt.ts';
import type { PromptRequest, PromptTurnRow } from '../postgres/conversation-prompt.ts';
import type { Db } from '../postgres/pool.ts';
import { newestCover } from '../postgres/summary-cover.ts';
import type { SummaryRow } from '../postgres/summary-cover.ts';

export interface PromptBranch {
  /** What tells everything before `turns`, oldest first; empty where nothing does. */
  readonly summaries: readonly SummaryRow[];
  /** Oldest first, ending with the user's message; older ones than a prompt can show may be missing. */
  readonly turns: readonly PromptTurnRow[];
}

export interface BranchKeys {
  readonly conversationId: ConversationId;
  readonly userTurnId: TurnId;
}

/** More than the turns between two summaries, as a rule, so that one read is enough … */
const FIRST_READ = 64;
/** … as is this much beyond the window: summaries come a little later than they are due. */
const WINDOW_SLACK = 1.5;
/** Where other branches lie between, or summaries are far behind, more is read, up to this. */
const LAST_READ = 1024;
const GROWTH = 4;

/**
 * What it gives that a prompt of `maxTokens` can show depends on the branch alone, not on how it was read.
 * @param request may still be on its way: reading has begun by then
 */
export async function readBranch(
  db: Db,
  { prompt }: Catalog,
  { conversationId, userTurnId }: BranchKeys,
  request: Promise<PromptRequest | null>,
  maxTokens: number,
): Promise<PromptBranch> {
  const hasSummaries = prompt.summary_tokens > 0;
  let tokens = hasSummaries ? Math.min(maxTokens, prompt.window_tokens * WINDOW_SLACK) : maxTokens;
  for (let limit = FIRST_READ; ; limit *= GROWTH, tokens *= GROWTH) {
    const reading = recentTurns(db, conversationId, userTurnId, limit, Math.floor(tokens));
    const [rows, found] = await Promise.all([reading, request]);
    const branch = branchTo(rows, userTurnId);
    const version = hasSummaries ? (found?.summaryVersion ?? 0) : 0;
    const summaries =
      version === 0 || found === null ? [] : await coverOf(db, conversationId, branch, found);
    const told = summaries.at(-1)?.lastTurnId;
    const isTold = told !== undefined;
    const isRoot = (branch[0]?.parentTurnId ?? null) === null;
    const isEnough = version === 0 && newestWithin(branch, maxTokens).isCut;
    const isAll = rows.length < limit && sumOf(rows) <= tokens;
    if (isTold || isRoot || isEnough || isAll || limit >= LAST_READ)
      return {
        summaries,
        turns: branch.slice(1 + branch.findIndex((each) => each.turnId === told)),
      };
  }
}

function sumOf(turns: readonly PromptTurnRow[]): number {
  return turns.reduce((sum, { tokenCount }) => sum + (tokenCount ?? 0), 0);
}

/** The cover that was current at acceptance, if it is this branch's; else, on another branch, the newest that is. */
async function coverOf(
  db: Db,
  conversationId: ConversationId,
  branch: readonly PromptTurnRow[],
  { cover, summarisedThrough, summaryVersion }: PromptRequest,
): Promise<readonly SummaryRow[]> {
  const before = branch[0]?.parentTurnId ?? null;
  const turnIds = [...(before === null ? [] : [before]), ...branch.map(({ turnId }) => turnId)];
  if (summarisedThrough !== null && turnIds.includes(summarisedThrough)) return cover;
  return newestCover(db, conversationId, turnIds, summaryVersion);
}
