// Which summaries a branch lacks: leaves of a fixed number of exchanges from the root on, and above them, as in a number
// with digits, one node for each full group of the level below. Pure.
import type { TurnId } from '../contracts/ids.ts';

/** What a summary stands for: a path of the conversation's tree. */
export interface SummaryRange {
  /** 0: of turns. */
  readonly level: number;
  /** The turn before the first; null at the root. */
  readonly parentTurnId: TurnId | null;
  readonly firstTurnId: TurnId;
  readonly lastTurnId: TurnId;
}

/** A summary to be made, after those before it in the list. */
export interface DueSummary extends SummaryRange {
  /** Last turns of the nodes one level below that it is made of, in order; empty for a leaf. */
  readonly childLastTurnIds: readonly TurnId[];
}

/** A turn behind the last summary. */
export interface TailTurn {
  readonly turnId: TurnId;
  readonly parentTurnId: TurnId | null;
  readonly role: 'user' | 'assistant';
  /** Tokens of its message. */
  readonly cost: number;
}

export interface SummarySettings {
  /** Nothing is due while the turns behind the last summary take no more tokens; about half of them stay as they are. */
  readonly windowTokens: number;
  /** Exchanges of a leaf. */
  readonly span: number;
  /** Nodes that one of the next level stands for. */
  readonly fanOut: number;
}

/**
 * @param cover what tells the branch up to its last summary, oldest first
 * @param tail the turns behind it, oldest first
 * @param limit most summaries at once; what is left is due again when these are made
 */
export function summariesDue(
  cover: readonly SummaryRange[],
  tail: readonly TailTurn[],
  { windowTokens, span, fanOut }: SummarySettings,
  limit: number,
): DueSummary[] {
  const due: DueSummary[] = [];
  const path = [...cover];
  let rest = tail.reduce((sum, { cost }) => sum + cost, 0);
  if (rest <= windowTokens) return due;
  for (const leaf of leavesOf(tail, span)) {
    rest -= leaf.reduce((sum, { cost }) => sum + cost, 0);
    if (rest < windowTokens / 2 || due.length >= limit) break;
    const range = rangeOf(0, leaf);
    if (range === null) break;
    due.push({ ...range, childLastTurnIds: [] });
    path.push(range);
    due.push(...mergeUp(path, fanOut));
  }
  return due;
}

/** Whole leaves only, oldest first. */
function leavesOf(tail: readonly TailTurn[], span: number): TailTurn[][] {
  const leaves: TailTurn[][] = [];
  let leaf: TailTurn[] = [];
  let numExchanges = 0;
  for (const turn of tail) {
    leaf.push(turn);
    if (turn.role === 'assistant') numExchanges += 1;
    if (numExchanges < span) continue;
    leaves.push(leaf);
    leaf = [];
    numExchanges = 0;
  }
  return leaves;
}

/** Replaces full groups at the end of `path` by a node of the next level, as often as there are some. */
function mergeUp(path: SummaryRange[], fanOut: number): DueSummary[] {
  const merged: DueSummary[] = [];
  for (;;) {
    const level = path.at(-1)?.level ?? 0;
    const group = path.slice(-fanOut);
    if (group.length < fanOut || group.some((each) => each.level !== level)) return merged;
    const [first, last] = [group[0], group.at(-1)];
    if (first === undefined || last === undefined) return merged;
    const { parentTurnId, firstTurnId } = first;
    const range = { level: level + 1, parentTurnId, firstTurnId, lastTurnId: last.lastTurnId };
    merged.push({ ...range, childLastTurnIds: group.map(({ lastTurnId }) => lastTurnId) });
    path.splice(-fanOut, fanOut, range);
  }
}

function rangeOf(level: number, turns: readonly TailTurn[]): SummaryRange | null {
  const [first, last] = [turns[0], turns.at(-1)];
  if (first === undefined || last === undefined) return null;
  const { parentTurnId, turnId: firstTurnId } = first;
  return { level, parentTurnId, firstTurnId, lastTurnId: last.turnId };
}
