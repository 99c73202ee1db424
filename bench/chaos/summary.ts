// A run in numbers: what was asked, what was answered, what was broken.
import { grouped } from './anomaly.ts';
import type {
  FaultOperation,
  FinalState,
  Operation,
  PostOperation,
  StreamOperation,
} from './history.ts';

export interface Summary {
  readonly operations: number;
  readonly posts: Readonly<Record<'accepted' | 'refused' | 'unknown', number>>;
  /** Accepted turns. */
  readonly turns: number;
  /** Stored replies by their finish_reason. */
  readonly ends: Readonly<Record<string, number>>;
  readonly conversations: number;
  readonly streams: number;
  /** Times that a reader went on at another connection. */
  readonly resumes: number;
  readonly reads: number;
  /** Turns that were generated once more and compared. */
  readonly replays: number;
  readonly calls: Readonly<Record<string, number>>;
  /** Faults that were carried out, by action, and how many of a kind of target. */
  readonly faults: Readonly<Record<string, number>>;
  readonly faultsOf: Readonly<Record<string, number>>;
  readonly faultsSkipped: number;
  /** From an accepted POST to its `open`, ms; from the first POST of a value to `done` at its first reader. */
  readonly openMs: Spread;
  readonly doneMs: Spread;
}

export interface Spread {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export function summarise(history: readonly Operation[], final: FinalState): Summary {
  const of = <Op extends Operation['op']>(op: Op): Extract<Operation, { op: Op }>[] =>
    history.filter((each): each is Extract<Operation, { op: Op }> => each.op === op);
  const [posts, streams, faults] = [of('post'), of('stream'), of('fault')];
  const done = faults.filter(({ skipped }) => skipped === undefined);
  const outcome = (name: string): number => posts.filter((each) => each.outcome === name).length;
  const accepted = posts.filter((each) => each.outcome === 'accepted');
  const replies = final.conversations.flatMap(({ turns }) =>
    turns.filter(({ role }) => role === 'assistant'),
  );
  return {
    operations: history.length - faults.length,
    posts: {
      accepted: outcome('accepted'),
      refused: outcome('refused'),
      unknown: outcome('unknown'),
    },
    turns: new Set(accepted.map(({ turnId }) => turnId)).size,
    ends: counts(replies, ({ finishReason }) => finishReason ?? 'none'),
    conversations: final.conversations.length,
    streams: streams.length,
    resumes: streams.reduce((sum, each) => sum + Math.max(0, each.numConnections - 1), 0),
    reads: of('read').length,
    replays: of('replay').length,
    calls: counts(of('call'), ({ what, status }) => `${what} ${status}`),
    faults: counts(done, ({ action }) => action),
    faultsOf: counts(done, kindOfTarget),
    faultsSkipped: faults.length - done.length,
    openMs: spread(accepted.map(({ begin, end }) => end - begin)),
    doneMs: spread(doneTimes(posts, streams)),
  };
}

function doneTimes(posts: readonly PostOperation[], streams: readonly StreamOperation[]): number[] {
  const begins = new Map<string, number>();
  for (const { value, begin } of posts)
    begins.set(String(value), Math.min(begin, begins.get(String(value)) ?? Infinity));
  const ends = new Map<string, number>();
  for (const { turnId, end, numDone } of streams)
    if (numDone > 0) ends.set(turnId, Math.min(end, ends.get(turnId) ?? Infinity));
  const done = new Map<string, number>();
  for (const { value, turnId = '' } of posts) {
    const end = ends.get(turnId);
    if (end !== undefined) done.set(turnId, end - (begins.get(String(value)) ?? end));
  }
  return [...done.values()];
}

function kindOfTarget({ target }: FaultOperation): string {
  return target.replace(/-\d+$/, '');
}

function counts<Item>(
  items: readonly Item[],
  keyOf: (item: Item) => string,
): Record<string, number> {
  const all = [...grouped(items, keyOf)].map(([key, group]) => [key, group.length] as const);
  return Object.fromEntries(all.sort(([one], [other]) => (one < other ? -1 : 1)));
}

function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((one, other) => one - other);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}
