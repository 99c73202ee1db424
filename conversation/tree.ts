// The tree of a conversation's turns: what is an alternative to what, and where a branch ends. Built from any part of the
// turns in any order, always the same. Pure.
import type { TurnLinks } from './branch.ts';

export interface TreeTurn extends TurnLinks {
  readonly role: 'user' | 'assistant';
  /** Which of its request's replies it is; null where there is one. */
  readonly sampleIndex?: number | null;
}

export interface TurnTree<Turn extends TreeTurn> {
  /** Turns without a parent among these, in order of their ids. */
  readonly roots: readonly Turn[];
  /** What follows a turn, in order of their ids. */
  childrenOf(turnId: string): readonly Turn[];
  /** All turns at the place of one, itself included, in order of their ids: it is number n of m. Empty for a stranger. */
  siblingsOf(turnId: string): readonly Turn[];
}

/**
 * A turn whose parent is not among `turns` (on a page that was not read) is a root; of turns whose links form a circle the
 * one with the smallest id is.
 */
export function buildTree<Turn extends TreeTurn>(turns: readonly Turn[]): TurnTree<Turn> {
  const known = new Map([...turns].sort(byId).map((turn) => [turn.turnId, turn]));
  const children = new Map<string, Turn[]>();
  const roots: Turn[] = [];
  const cut = circleStarts(known);
  for (const turn of known.values()) {
    const { parentTurnId } = turn;
    if (parentTurnId === null || !known.has(parentTurnId) || cut.has(turn.turnId)) {
      roots.push(turn);
      continue;
    }
    const siblings = children.get(parentTurnId);
    if (siblings === undefined) children.set(parentTurnId, [turn]);
    else siblings.push(turn);
  }
  const childrenOf = (turnId: string): readonly Turn[] => children.get(turnId) ?? [];
  return {
    roots,
    childrenOf,
    siblingsOf: (turnId) => {
      const turn = known.get(turnId);
      if (turn === undefined) return [];
      if (!roots.includes(turn)) return childrenOf(turn.parentTurnId ?? '');
      // Roots are alternatives when they begin the conversation, or answer the same unread turn.
      return cut.has(turnId)
        ? [turn]
        : roots.filter((each) => each.parentTurnId === turn.parentTurnId && !cut.has(each.turnId));
    },
  };
}

/**
 * The reply in which the branch through `turnId` ends: the newest reply below it, or itself when it is one and has none. Of
 * several replies to one request the first is the newest. Null when there is no such turn, or no reply to it yet.
 */
export function lastReplyBelow<Turn extends TreeTurn>(
  turns: readonly Turn[],
  turnId: string,
): Turn | null {
  const { childrenOf, siblingsOf } = buildTree(turns);
  const start = siblingsOf(turnId).find((each) => each.turnId === turnId);
  if (start === undefined) return null;
  let last: Turn | null = null;
  for (const below = [...childrenOf(turnId)]; ;) {
    const turn = below.pop();
    if (turn === undefined) break;
    below.push(...childrenOf(turn.turnId));
    if (turn.role === 'assistant' && (last === null || turn.turnId > last.turnId)) last = turn;
  }
  if (last === null) return start.role === 'assistant' ? start : null;
  const newest = last;
  if ((newest.sampleIndex ?? 0) === 0) return newest;
  return (
    siblingsOf(newest.turnId).findLast(
      (each) => each.sampleIndex === 0 && each.turnId < newest.turnId,
    ) ?? newest
  );
}

/** The smallest turn of each circle of parents. */
function circleStarts(known: ReadonlyMap<string, TreeTurn>): ReadonlySet<string> {
  const starts = new Set<string>();
  const done = new Set<string>();
  for (const first of known.keys()) {
    const path: string[] = [];
    let turnId: string | null | undefined = first;
    while (typeof turnId === 'string' && !done.has(turnId) && known.has(turnId)) {
      done.add(turnId);
      path.push(turnId);
      turnId = known.get(turnId)?.parentTurnId;
    }
    const circle = typeof turnId === 'string' ? path.indexOf(turnId) : -1;
    const smallest = circle < 0 ? undefined : path.slice(circle).sort()[0];
    if (smallest !== undefined) starts.add(smallest);
  }
  return starts;
}

function byId(one: TurnLinks, other: TurnLinks): number {
  return one.turnId < other.turnId ? -1 : one.turnId > other.turnId ? 1 : 0;
}
