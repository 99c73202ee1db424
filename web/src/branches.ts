// A conversation is a tree of turns: a regenerated answer or an edited message is a sibling of the first. Which path
// through it is shown. Pure.
import type { Turn } from './api-types.ts';

export interface PathStep {
  readonly turn: Turn;
  /** All turns at this place, oldest first; `turn` is one of them. */
  readonly siblings: readonly Turn[];
  /** There may be siblings on older pages that are not read yet, so which of how many it is is not known. */
  readonly isCut: boolean;
}

/** Parent (ROOT for none) → the child that the reader chose. */
export type Choices = ReadonlyMap<string, string>;

const ROOT = '';

/** Where choices about the siblings of `turn` are kept. */
export function placeOf(turn: Turn): string {
  return turn.parent_turn_id ?? ROOT;
}

/**
 * The path from the oldest known turn to a leaf. Where there are siblings it takes the reader's choice, else the one
 * with the newest turn below it, which is where the conversation was last. Ids are UUIDv7: their order is that of time.
 */
export function visiblePath(turns: readonly Turn[], choices: Choices): PathStep[] {
  const children = byPlace(turns);
  const newest = newestBelow(turns);
  const path: PathStep[] = [];
  const seen = new Set<string>();
  let siblings = children.get(firstPlace(turns)) ?? [];
  while (siblings.length > 0) {
    const [first] = siblings;
    if (first === undefined || seen.has(first.turn_id)) break;
    const chosen = choices.get(placeOf(first));
    const turn =
      siblings.find(({ turn_id }) => turn_id === chosen) ??
      siblings.reduce((best, each) =>
        (newest.get(each.turn_id) ?? '') > (newest.get(best.turn_id) ?? '') ? each : best,
      );
    for (const each of siblings) seen.add(each.turn_id);
    path.push({ turn, siblings, isCut: false });
    siblings = children.get(turn.turn_id) ?? [];
  }
  return path;
}

/**
 * Whether the first turn of the path is known to have siblings of which some may be on older pages. Pages are read newest
 * first and a turn is younger than its parent, so where the parent is read all siblings are.
 */
export function isCutAmongVersions(turns: readonly Turn[], path: readonly PathStep[]): boolean {
  const [first] = path;
  if (first === undefined) return false;
  const known = new Set(turns.map(({ turn_id }) => turn_id));
  const { parent_turn_id: parent } = first.turn;
  if (parent !== null && known.has(parent)) return false;
  return (
    first.siblings.length > 1 ||
    first.turn.index !== undefined ||
    (first.turn.replaces_turn_id !== null && !known.has(first.turn.replaces_turn_id))
  );
}

export interface Versions {
  /** Which of how many. */
  readonly words: string;
  /** The neighbours; null at an end. */
  readonly previous: string | null;
  readonly next: string | null;
}

/** A step among its siblings; null when it has none. */
export function versionsOf({ turn, siblings, isCut }: PathStep): Versions | null {
  if (siblings.length < 2 && !isCut) return null;
  const index = siblings.findIndex(({ turn_id }) => turn_id === turn.turn_id);
  return {
    words: isCut ? '…' : `${index + 1} of ${siblings.length}`,
    previous: siblings[index - 1]?.turn_id ?? null,
    next: siblings[index + 1]?.turn_id ?? null,
  };
}

/** Whether two steps look the same. Turns are values: a changed one is another object. */
export function sameStep(one: PathStep, other: PathStep): boolean {
  return (
    one.turn === other.turn &&
    one.isCut === other.isCut &&
    one.siblings.length === other.siblings.length &&
    one.siblings.every(({ turn_id }, index) => turn_id === other.siblings[index]?.turn_id)
  );
}

/** Choices that make the path pass through `turnId`. */
export function choosing(turns: readonly Turn[], choices: Choices, turnId: string): Choices {
  const byId = new Map(turns.map((turn) => [turn.turn_id, turn]));
  const next = new Map(choices);
  const seen = new Set<string>();
  for (let turn = byId.get(turnId); turn !== undefined && !seen.has(turn.turn_id);) {
    seen.add(turn.turn_id);
    next.set(placeOf(turn), turn.turn_id);
    turn = turn.parent_turn_id === null ? undefined : byId.get(turn.parent_turn_id);
  }
  return next;
}

/** The answer that a next message follows; null at the start of a conversation. */
export function lastAnswerOf(path: readonly PathStep[]): string | null {
  return path.findLast(({ turn }) => turn.role === 'assistant')?.turn.turn_id ?? null;
}

function byPlace(turns: readonly Turn[]): Map<string, Turn[]> {
  const places = new Map<string, Turn[]>();
  for (const turn of [...turns].sort(byId)) {
    const siblings = places.get(placeOf(turn));
    if (siblings === undefined) places.set(placeOf(turn), [turn]);
    else siblings.push(turn);
  }
  return places;
}

function byId(left: Turn, right: Turn): number {
  return left.turn_id < right.turn_id ? -1 : left.turn_id > right.turn_id ? 1 : 0;
}

/**
 * The root, or, while older pages are not read, the parent of the oldest turn above the newest one: the branch that the
 * conversation was last on.
 */
function firstPlace(turns: readonly Turn[]): string {
  const known = new Map(turns.map((turn) => [turn.turn_id, turn]));
  let turn = [...turns].sort(byId).at(-1);
  const seen = new Set<string>();
  while (turn !== undefined && !seen.has(turn.turn_id)) {
    seen.add(turn.turn_id);
    const parent = turn.parent_turn_id === null ? undefined : known.get(turn.parent_turn_id);
    if (parent === undefined) return placeOf(turn);
    turn = parent;
  }
  return ROOT;
}

/** Turn → the newest id among it and all below it; the replies of one turn count as its first, which is shown unless chosen. */
function newestBelow(turns: readonly Turn[]): Map<string, string> {
  const known = new Map(turns.map((turn) => [turn.turn_id, turn]));
  const newest = new Map<string, string>();
  const first = firstReplies(turns);
  // Newest first: the first to reach an ancestor is the newest below it, so a climb ends where another one passed.
  for (const leaf of [...turns].sort(byId).reverse()) {
    let turn: Turn | undefined = leaf;
    while (turn !== undefined && !newest.has(turn.turn_id)) {
      newest.set(turn.turn_id, first.get(leaf.turn_id) ?? leaf.turn_id);
      turn = turn.parent_turn_id === null ? undefined : known.get(turn.parent_turn_id);
    }
  }
  return newest;
}

/** Reply with an index → the first reply of its turn. Their ids follow each other. */
function firstReplies(turns: readonly Turn[]): Map<string, string> {
  const first = new Map<string, string>();
  let last = '';
  for (const { turn_id, index } of [...turns].sort(byId)) {
    if (index === undefined) continue;
    if (index === 0) last = turn_id;
    first.set(turn_id, last === '' ? turn_id : last);
  }
  return first;
}
