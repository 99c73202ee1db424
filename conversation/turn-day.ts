// Dates in prompts: days in UTC, nothing finer, so that equal rows give equal prompts whenever they are read. Pure.
import type { TurnId } from '../contracts/ids.ts';

/** YYYY-MM-DD, UTC. */
export function dayOf(moment: Date): string {
  return moment.toISOString().slice(0, 10);
}

/** The day a turn was asked: the first 48 bits of its id are ms since the epoch. Source: RFC 9562 §5.7. */
export function dayOfTurn(turnId: TurnId): string {
  return dayOf(new Date(Number.parseInt(turnId.replaceAll('-', '').slice(0, 12), 16)));
}
