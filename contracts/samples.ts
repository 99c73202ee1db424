// The replies ("samples") of one turn that asked for n > 1: their ids, their seeds. The first has the turn's own id, which
// names its log and its workflow; each is stored as a turn of its own, a sibling of the others.
import type { TurnId } from './ids.ts';

export const MAX_SAMPLES = 4;

/** The last 48 of a UUIDv7's random bits: within them the ids of a turn's samples follow each other. */
const LAST_DIGITS = 12;

/** The id of reply `index` of a turn: `index` more than the turn's own. */
export function sampleTurnId(turnId: TurnId, index: number): TurnId {
  return moved(turnId, index);
}

export function sampleTurnIds(turnId: TurnId, numSamples: number): TurnId[] {
  return Array.from({ length: numSamples }, (_, index) => sampleTurnId(turnId, index));
}

/** The turns that `id` may be a reply of: element i is right if that turn has more than i replies. */
export function turnIdsOfSample(id: TurnId): TurnId[] {
  return Array.from({ length: MAX_SAMPLES }, (_, index) => moved(id, -index));
}

/** Replies draw with seeds that follow each other, so reply i is what a turn of its own with that seed would say. */
export function sampleSeed(seed: number, index: number): number {
  return (seed + index) >>> 0;
}

function moved(id: TurnId, by: number): TurnId {
  const size = 16 ** LAST_DIGITS;
  const last = Number.parseInt(id.slice(-LAST_DIGITS), 16);
  const next = (last + by + size) % size;
  return `${id.slice(0, -LAST_DIGITS)}${next.toString(16).padStart(LAST_DIGITS, '0')}` as TurnId;
}
