// A pool with a look-ahead holds a reply back while all of its readers have stalled, on real Temporal, PostgreSQL and Valkey.
import { Runtime } from '@temporalio/worker';
import { newTurnId } from '../../../contracts/ids.ts';
import { turnMetaKey } from '../../../contracts/redis-keys.ts';
import { rows } from '../../../postgres/pool.ts';
import { textOf } from '../../helpers/entry-text.ts';
import { fakeServedModel } from '../../helpers/fake-served-model.ts';
import { startTurnHarness } from '../../helpers/turn-harness.ts';
import type { TurnHarness } from '../../helpers/turn-harness.ts';
import { waitFor } from '../../helpers/wait-for.ts';

const LOOK_AHEAD = 40;
const REPLY = 'abcdefghij'.repeat(30);

let harness: TurnHarness;
let stopPool: (() => Promise<void>) | null = null;
beforeAll(async () => {
  harness = await startTurnHarness((catalog) => {
    const { mini } = catalog.pools;
    if (mini?.kind !== 'native') throw new Error('The pool is not ours.');
    return {
      ...catalog,
      pools: { ...catalog.pools, mini: { ...mini, look_ahead_tokens: LOOK_AHEAD } },
    };
  });
}, 60_000);
afterEach(async () => {
  await stopPool?.();
  stopPool = null;
});
afterAll(async () => {
  await harness.close();
  await Runtime.instance().shutdown();
}, 30_000);

/** A turn whose readers, at two gateways, stalled at its second entry before the reply began. */
async function heldTurn() {
  let begin: () => void = () => undefined;
  const begun = new Promise<void>((resolve) => (begin = resolve));
  const beforeToken = async (index: number): Promise<void> => {
    if (index === 1) await begun;
    // Slower than its readers are looked at.
    await new Promise((resolve) => setTimeout(resolve, 2));
  };
  const model = fakeServedModel({ reply: REPLY, beforeToken });
  stopPool = await harness.startPool('mini', model);
  const turn = await harness.accept(await harness.newConversation(), 'letters');
  const running = (await harness.start(turn)).result();
  await harness.entry(turn.turnId, ({ type }) => type === 'token');
  await harness.readers.report(turn.turnId, 'one', 2);
  await harness.readers.report(turn.turnId, 'other', 1);
  begin();
  await waitFor('it is held', () => model.engine.stats().held === 1);
  return { turn, running, model };
}

describe('a turn whose readers have all stalled', () => {
  it('is held back within the look-ahead, and goes on to the same text when one of them takes again', async () => {
    const { turn, running } = await heldTurn();
    // A look comes with each quarter of the look-ahead; its answer takes some tokens more.
    await waitFor('what was sampled is appended', async () => {
      const { length } = textOf(await harness.entries(turn.turnId));
      return length > LOOK_AHEAD;
    });
    const held = textOf(await harness.entries(turn.turnId));
    expect(held.length).toBeLessThan(REPLY.length / 2);
    await harness.readers.report(turn.turnId, 'other', 'flowing');
    await running;
    expect(textOf(await harness.entries(turn.turnId))).toBe(REPLY);
    expect(
      await rows(harness.db, 'select completion_tokens from ledger where turn_id = $1', [
        turn.turnId,
      ]),
    ).toEqual([{ completion_tokens: REPLY.length }]);
  });

  it('can be cancelled while it is held, and is stored as delivered', async () => {
    const { turn, running, model } = await heldTurn();
    await harness.turnLog.cancel(turn.turnId);
    expect(await running).toMatchObject({ finishReason: 'cancelled' });
    expect(textOf(await harness.entries(turn.turnId)).length).toBeLessThan(REPLY.length / 2);
    expect(model.engine.stats().held).toBe(0);
  });

  it('is not begun anew by what is told of its readers once Redis has lost it', async () => {
    const turnId = newTurnId();
    await harness.readers.report(turnId, 'one', 'flowing');
    expect(await harness.redis.exists(turnMetaKey(turnId))).toBe(0);
    expect(await harness.readers.stateOf(turnId)).toBe('none');
  });
});
