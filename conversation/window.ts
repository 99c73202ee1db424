// Where the window of recent turns begins when not all of them fit. Pure.

/** A turn and what it takes of the prompt. */
export interface WindowTurn {
  readonly turnId: string;
  readonly role: 'user' | 'assistant';
  /** Tokens, the template's included. */
  readonly cost: number;
}

/**
 * The first turn that is kept: a user's, so that no reply stands without its question. Among those whose rest takes more
 * than half of the room, the one whose id's random digits are least. It stays that one while turns are added, until it is
 * pushed out or one with still smaller digits comes in: so the beginning moves in steps of several turns, not with each, and
 * depends on the branch alone, not on what was asked before.
 * Source: the rule is winnowing's, Schleimer, Wilkerson, Aiken, SIGMOD 2003, §3.
 * @param turns oldest first, ending with the user's message; its own cost is in `room`
 * @param room tokens for all of them; the last one fits
 * @returns an index of `turns`
 */
export function windowStart(turns: readonly WindowTurn[], room: number): number {
  const last = turns.length - 1;
  let taken = 0;
  let best = last;
  let isPastHalf = false;
  for (let at = last; at >= 0; at -= 1) {
    const turn = turns[at];
    if (turn === undefined) break;
    taken += turn.cost;
    if (taken > room) break;
    if (turn.role !== 'user') continue;
    const isCandidate = taken > room / 2;
    if (!isPastHalf || digitsOf(turn.turnId) < digitsOf(turns[best]?.turnId ?? '')) best = at;
    isPastHalf ||= isCandidate;
  }
  return best;
}

/** The last 12 digits of a UUIDv7: all of them random. */
function digitsOf(turnId: string): string {
  return turnId.slice(-12);
}
