// After the storm some turns are generated once more, those first that a fault met: in peace, and many at a time, for what
// else the engine does must not matter either. Reproduced to the token, or the checker says so.
import type { FaultOperation } from '../../bench/chaos/history.ts';
import type { KnownTurn, World } from './chaos-world.ts';
import { takeTurn, textOf } from './turn-client.ts';

const NUM_REPLAYS = 60;
const AT_ONCE = 4;

/** Call it when the final state has been read: each replay is a sibling of the reply that it repeats. */
export async function replay(world: World): Promise<void> {
  const faults = world.history.filter((each): each is FaultOperation => each.op === 'fault');
  const isMet = ({ begin, end }: KnownTurn): boolean =>
    faults.some((fault) => fault.begin < end && fault.end > begin);
  // The free tier's limit would be waited for.
  const known = world.turns.filter(({ tier }) => tier !== 'free');
  const chosen = [...known.filter(isMet), ...known.filter((each) => !isMet(each))];
  // One of a conversation at a time: it takes one turn at a time.
  const queue = chosen.slice(0, NUM_REPLAYS);
  const busy = new Set<string>();
  const worker = async (): Promise<void> => {
    for (;;) {
      const index = queue.findIndex(({ conversation }) => !busy.has(conversation));
      const [turn] = index < 0 ? [] : queue.splice(index, 1);
      if (turn === undefined) return;
      busy.add(turn.conversation);
      await replayOne(world, turn);
      busy.delete(turn.conversation);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  while (queue.length > 0) await worker(); // What was left because its conversation was busy.
}

async function replayOne(
  world: World,
  { conversation, turnId, tier, params }: KnownTurn,
): Promise<void> {
  const begin = world.now();
  const [caller] = world.callers(tier);
  if (caller === undefined) throw new Error('There is no gateway.');
  const body = { regenerate_of: turnId, ...params };
  const stream = await takeTurn({ ...caller, idleMs: 60_000 }, conversation, body);
  const done = await stream.until(({ event }) => event === 'done');
  stream.close();
  if (done === null) throw new Error(`Turn ${turnId} was not generated again: ${stream.status}.`);
  const usage = done.data['usage'] as { prompt_tokens: number; completion_tokens: number };
  world.record({
    ...{ op: 'replay', conversation, turnId, begin, end: world.now(), text: textOf(stream.events) },
    promptTokens: usage.prompt_tokens,
    completionTokens: usage.completion_tokens,
  });
}
