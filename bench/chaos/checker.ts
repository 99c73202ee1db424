// The judge of a chaos run: a pure function of its history and of the state at its end. docs/chaos.md lists the anomalies.
import { Run } from './anomaly.ts';
import type { Anomaly, Verdict } from './anomaly.ts';
import { checkEnds } from './check-ends.ts';
import { checkLists } from './check-lists.ts';
import { checkReads } from './check-reads.ts';
import { checkStreams } from './check-streams.ts';
import type { FinalState, Operation } from './history.ts';

export function check(history: readonly Operation[], final: FinalState): Verdict {
  const run = new Run(history, final);
  const all = [...checkLists(run), ...checkReads(run), ...checkStreams(run), ...checkEnds(run)];
  return {
    anomalies: all.filter((each) => !isAllowed(run, each)),
    allowed: all.filter((each) => isAllowed(run, each)),
  };
}

/**
 * The one stated limit that a single fault can meet: Valkey lost between the last token and the commit. The turn is
 * generated again; a reader that was in mid-stream may see a piece twice or miss one. Whoever reads it later sees all of it.
 */
function isAllowed(run: Run, { kind, turnId = '', at = 0 }: Anomaly): boolean {
  const reply = run.reply(turnId);
  if (kind !== 'text-differs' || reply === undefined) return false;
  const stream = run.streams.find((each) => each.turnId === turnId && each.end === at);
  const isLate = stream === undefined || stream.begin >= reply.createdAt;
  return !isLate && (run.final.dispatches[turnId] ?? 1) > 1;
}
