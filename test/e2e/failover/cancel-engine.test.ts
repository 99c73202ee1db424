// A turn is cancelled in the states that an engine with little room puts it in, and around them: queued at the gateway,
// blocked, at its last token.
import { rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { changedCatalog } from '../../helpers/changed-catalog.ts';
import { expectDelivered } from '../../helpers/delivered.ts';
import { expectNothingLeft, startFailoverScene } from '../../helpers/failover-scene.ts';
import type { FailoverScene } from '../../helpers/failover-scene.ts';
import {
  freeze,
  numInState,
  numUsedBlocks,
  processNamed,
  thaw,
} from '../../helpers/system-processes.ts';
import { call, newConversation } from '../../helpers/turn-client.ts';
import type { Caller } from '../../helpers/turn-client.ts';
import { followTurn } from '../../helpers/turn-follower.ts';
import type { FollowedTurn } from '../../helpers/turn-follower.ts';
import { reportTrials, timeFor, TRIALS } from '../../helpers/trials.ts';
import { waitFor } from '../../helpers/wait-for.ts';

/** Room for one whole reply and a half, and seats for two. */
const REPLY_TOKENS = 300;
const POOL = { kv_pool_bytes: 450 * 23_040, max_num_seqs: 2, swap_bytes: 0 };
const BODY = {
  content: 'Write a very long story about the sea.',
  max_tokens: REPLY_TOKENS,
  temperature: 0,
};

const path = changedCatalog(POOL);
let scene: FailoverScene;
beforeAll(async () => {
  scene = await startFailoverScene({ workers: { default: 1 }, env: { CATALOG_PATH: path } });
}, 300_000);
afterAll(async () => {
  await scene.close();
  rmSync(dirname(path), { recursive: true });
}, 60_000);

const gateway = (): Caller => {
  const [caller] = scene.callers();
  if (caller === undefined) throw new Error('There is no gateway.');
  return caller;
};
const take = async (body: object = BODY): Promise<FollowedTurn> =>
  followTurn(scene.callers, await newConversation(gateway()), body);
const cancelled = async ({ conversationId }: FollowedTurn): Promise<void> => {
  const { status } = await call(
    gateway(),
    'POST',
    `/v1/conversations/${conversationId}/cancel`,
    {},
  );
  expect(status).toBe(204);
};
const worker = () => processNamed(scene.system, 'inference-default-1');
const inEngine = (state: string, count: number): Promise<unknown> =>
  waitFor(
    `${count} are ${state}`,
    async () => (await numInState(worker(), state)) >= count,
    60_000,
  );
const nothingLeft = (): Promise<void> => expectNothingLeft(scene, () => numUsedBlocks(worker()));

const metaKeyOf = async (conversationId: string): Promise<string | undefined> => {
  const { redis } = scene.audit;
  for (const key of await redis.keys('turn:*:meta'))
    if ((await redis.hget(key, 'conversation')) === conversationId) return key;
  return undefined;
};

/** How the turns of all trials ended. */
async function trials(name: string, once: () => Promise<string>): Promise<void> {
  const ended: Record<string, number> = {};
  for (let trial = 0; trial < TRIALS; trial += 1) {
    await nothingLeft();
    const reason = await once();
    ended[reason] = (ended[reason] ?? 0) + 1;
  }
  await nothingLeft();
  reportTrials(`cancelled while ${name}`, { trials: TRIALS, ended });
}

describe('a turn that is cancelled', () => {
  it(
    'while it waits in the engine for a seat is stored empty, and the others go on',
    () =>
      trials('waiting in the engine', async () => {
        const before = [await take(), await take()];
        await inEngine('running', 2);
        const turn = await take();
        await inEngine('waiting', 1);
        await cancelled(turn);
        const reason = await expectDelivered(scene.audit, turn);
        expect(turn.text).toBe('');
        for (const each of before) await expectDelivered(scene.audit, each, ['length', 'stop']);
        return reason;
      }),
    timeFor(TRIALS, 60_000),
  );

  it(
    'while it is preempted is stored as delivered, and the one that has its blocks goes on',
    () =>
      trials('preempted', async () => {
        const first = await take();
        await inEngine('running', 1);
        const last = await take();
        await inEngine('preempted', 1);
        await cancelled(last);
        const reason = await expectDelivered(scene.audit, last);
        expect(last.text).not.toBe('');
        await expectDelivered(scene.audit, first, ['length', 'stop']);
        return reason;
      }),
    timeFor(TRIALS, 60_000),
  );

  it(
    'as its last token comes ends one way or the other, and everybody says the same',
    () =>
      trials('at its last token', async () => {
        const turn = await take({ ...BODY, max_tokens: 8 });
        // The first entry has one token; the call takes about as long as the rest.
        await turn.until(({ event }) => event === 'token');
        await cancelled(turn);
        return expectDelivered(scene.audit, turn, ['cancelled', 'length']);
      }),
    timeFor(TRIALS, 30_000),
  );

  it(
    'while it is blocked stays blocked',
    () =>
      trials('blocked', async () => {
        const turn = await take({ ...BODY, content: 'poem '.repeat(100) });
        await turn.until(({ event }) => event === 'open');
        await cancelled(turn);
        return expectDelivered(scene.audit, turn, ['content_filter']);
      }),
    timeFor(TRIALS, 30_000),
  );

  it(
    'while the gateway waits for Temporal to take it never starts',
    () =>
      trials('queued at the gateway', async () => {
        const conversationId = await newConversation(gateway());
        const temporal = processNamed(scene.system, 'temporal');
        freeze(temporal);
        const turn = followTurn(scene.callers, conversationId, BODY);
        let answered: Promise<void>;
        try {
          const key = await waitFor('its log is there', () => metaKeyOf(conversationId));
          answered = cancelled(turn);
          await waitFor(
            'the log is marked',
            async () => (await scene.audit.redis.hget(key, 'cancel')) !== null,
          );
        } finally {
          thaw(temporal);
        }
        await answered;
        await turn.done;
        // A start that took too long is withdrawn, with its cancel; the client's same request is another turn then.
        const isAnother = turn.refusals.length > 0;
        return expectDelivered(scene.audit, turn, isAnother ? ['length', 'stop'] : ['cancelled']);
      }),
    timeFor(TRIALS, 60_000),
  );
});
