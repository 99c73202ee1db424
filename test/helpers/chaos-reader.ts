// Reads a reply as a client of a bad network does: over as many connections as it takes, at any gateway, by the last id.
import type { StreamOperation } from '../../bench/chaos/history.ts';
import type { Tier, World } from './chaos-world.ts';
import { resumeTurn, textOf } from './turn-client.ts';
import type { Caller, ReceivedEvent, TurnStream } from './turn-client.ts';

const RECONNECT_MS = 100;
/** Longer than any turn may take with all of a storm in its way. */
const PATIENCE_MS = 180_000;

export interface Reading {
  readonly client: string;
  readonly conversation: string;
  readonly turnId: string;
  readonly tier: Tier;
  /** The last entry that the reader has. */
  readonly after: number;
  /** A connection that is open already. */
  readonly stream?: TurnStream;
  /** Asked at each event: go on, come back at another gateway, or leave for good. */
  readonly decide: (event: ReceivedEvent) => 'stay' | 'move' | 'leave';
}

/** Reads to the end, or until it decides to leave; records what it saw. */
export async function readReply(
  world: World,
  reading: Reading,
  choose: (callers: readonly Caller[]) => Caller,
): Promise<StreamOperation> {
  const { client, conversation, turnId, after, tier } = reading;
  const begin = world.now();
  const events: ReceivedEvent[] = [];
  const refusals: number[] = [];
  let [numConnections, longestAwayMs, awaySince] = [0, 0, begin];
  let hasLeft = false;
  let { stream } = reading;
  const isDone = (): boolean => events.at(-1)?.event === 'done';
  while (!isDone() && !hasLeft && world.now() - begin < PATIENCE_MS) {
    const last = events.at(-1)?.id ?? after;
    stream ??= await resumeTurn(choose(world.callers(tier)), conversation, turnId, last).catch(
      () => undefined,
    );
    if (stream === undefined || stream.status !== 200) {
      refusals.push(stream?.status ?? 0);
      stream = undefined;
      await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
      continue;
    }
    longestAwayMs = Math.max(longestAwayMs, world.now() - awaySince);
    numConnections += 1;
    await stream.until((event) => {
      events.push(event);
      const decision = event.event === 'done' ? 'stay' : reading.decide(event);
      hasLeft = decision === 'leave';
      return event.event === 'done' || decision !== 'stay';
    });
    stream.close();
    stream = undefined;
    awaySince = world.now();
  }
  const done = events.find(({ event }) => event === 'done')?.data as
    { finish_reason: string; usage: { completion_tokens: number } } | undefined;
  const count = (name: string): number => events.filter(({ event }) => event === name).length;
  const operation: StreamOperation = {
    ...{ op: 'stream', client, conversation, turnId, after, begin, end: world.now() },
    ...{ numConnections, longestAwayMs, ids: events.map(({ id }) => id), text: textOf(events) },
    ...{ numOpen: count('open'), numDone: count('done') },
    finishReason: done?.finish_reason ?? null,
    completionTokens: done?.usage.completion_tokens ?? null,
    refusals,
    hasLeft,
  };
  world.record(operation);
  return operation;
}
