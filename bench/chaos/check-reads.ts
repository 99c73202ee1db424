// What readers of conversations saw: each a prefix of the final list, none older than what was finished or seen before it began.
import { digestOf } from './history.ts';
import { grouped } from './anomaly.ts';
import type { Anomaly, Run } from './anomaly.ts';
import type { ReadOperation, ReadTurn } from './history.ts';

export function checkReads(run: Run): Anomaly[] {
  const found: Anomaly[] = [];
  for (const [conversation, reads] of grouped(run.reads, (each) => each.conversation)) {
    const final = (run.listOf.get(conversation) ?? []).map(({ turnId, role, content }) => ({
      turnId,
      role,
      digest: digestOf(content),
    }));
    const place = new Map(final.map(({ turnId }, index) => [turnId, index]));
    const seen = lengthsSeen(run, conversation, reads, place);
    for (const read of reads) {
      const at = read.end;
      const wrong = read.turns.findIndex((turn, index) => !isSame(turn, final[index]));
      if (wrong >= 0) {
        found.push({
          kind: 'read-not-prefix',
          detail: `turn ${wrong} of ${read.turns.length}: ${describe(read.turns[wrong])} was read, ${describe(final[wrong])} stands there`,
          conversation,
          at,
        });
        continue;
      }
      const least = Math.max(
        0,
        ...seen.flatMap(({ length, since }) => (since < read.begin ? [length] : [])),
      );
      if (read.turns.length < least)
        found.push({
          kind: 'stale-read',
          detail: `${read.turns.length} turns were read when ${least} had been there before`,
          conversation,
          at,
        });
    }
  }
  return found;
}

/** From when on the list is known to have been at least so long: a reader had `done`, or another read had shown it. */
function lengthsSeen(
  run: Run,
  conversation: string,
  reads: readonly ReadOperation[],
  place: ReadonlyMap<string, number>,
): { length: number; since: number }[] {
  const ends = run.streams
    .filter((each) => each.conversation === conversation && each.numDone > 0)
    .map(({ turnId, end }) => ({ length: (place.get(turnId) ?? -1) + 1, since: end }));
  return [...ends, ...reads.map(({ turns, end }) => ({ length: turns.length, since: end }))];
}

function isSame(read: ReadTurn, final: ReadTurn | undefined): boolean {
  return read.turnId === final?.turnId && read.role === final.role && read.digest === final.digest;
}

function describe(turn: ReadTurn | undefined): string {
  return turn === undefined ? 'nothing' : `${turn.role} ${turn.turnId} (${turn.digest})`;
}
