// A turn is cancelled in every state it can be in: it ends soon, what is stored and billed is what was delivered, and nothing
// is left of it. What the engine itself does in each of its states: test/unit/inference/engine-aborts.test.ts.
import { randomInt } from 'node:crypto';
import { expectDelivered as delivered } from '../../helpers/delivered.ts';
import { expectNothingLeft, startFailoverScene } from '../../helpers/failover-scene.ts';
import type { FailoverScene } from '../../helpers/failover-scene.ts';
import {
  freeze,
  kill,
  numUsedBlocks,
  processNamed,
  processesOf,
  servingWorker,
  thaw,
} from '../../helpers/system-processes.ts';
import { call, newConversation } from '../../helpers/turn-client.ts';
import type { Caller } from '../../helpers/turn-client.ts';
import { followTurn } from '../../helpers/turn-follower.ts';
import type { FollowedTurn } from '../../helpers/turn-follower.ts';
import { reportTrials, spread, timeFor, TRIALS } from '../../helpers/trials.ts';
import { waitFor } from '../../helpers/wait-for.ts';

/** Cancels at random moments; 10,000 for the bar. */
const CANCELS = Number(process.env['COLLOQUY_CANCELS'] ?? 48);
const CLIENTS = CANCELS > 1000 ? 24 : 8;
const BODY = {
  content: 'Write a very long story about the sea.',
  max_tokens: 2000,
  temperature: 0,
};
const LONG = { ...BODY, content: 'The sea is wide and the ships are far away. '.repeat(400) };

let scene: FailoverScene;
beforeAll(async () => {
  scene = await startFailoverScene();
}, 300_000);
afterAll(() => scene.close(), 60_000);

const gateway = (index: number): Caller => {
  const caller = scene.callers()[index];
  if (caller === undefined) throw new Error(`There is no gateway ${index}.`);
  return caller;
};

const cancelled = async (conversationId: string, at = gateway(0)): Promise<void> => {
  const { status } = await call(at, 'POST', `/v1/conversations/${conversationId}/cancel`, {});
  expect(status).toBe(204);
};

const expectDelivered = (turn: FollowedTurn, reasons?: readonly string[]): Promise<string> =>
  delivered(scene.audit, turn, reasons);

const workers = () => scene.system.processes().filter(({ kind }) => kind === 'inference-worker');
const usedBlocks = async (): Promise<number> =>
  (await Promise.all(workers().map(numUsedBlocks))).reduce((sum, used) => sum + used, 0);

interface State {
  readonly name: string;
  /** Brings the turn there; the gateway to cancel at, if it is not the first. */
  readonly reach: (turn: FollowedTurn) => Promise<Caller | void>;
  readonly body?: object;
}

const toToken = async (turn: FollowedTurn, id: number): Promise<void> => {
  await turn.until((event) => event.event === 'token' && event.id >= id);
};

const STATES: readonly State[] = [
  {
    name: 'just accepted',
    reach: async (turn) => void (await turn.until(({ event }) => event === 'open')),
  },
  {
    name: 'in the prompt',
    reach: async () => void (await servingWorker(scene.system, 'default')),
    body: LONG,
  },
  { name: 'in the reply', reach: (turn) => toToken(turn, 5) },
  {
    name: 'read at another gateway',
    reach: async (turn) => {
      await toToken(turn, 5);
      return gateway(1);
    },
  },
  {
    name: 'going on after a failover',
    reach: async (turn) => {
      await toToken(turn, 3);
      kill(await servingWorker(scene.system, 'default'));
      await turn.until(({ event }) => event === 'retry');
    },
  },
  {
    name: 'without a worker, which was just killed',
    reach: async (turn) => {
      await toToken(turn, 3);
      kill(await servingWorker(scene.system, 'default'));
    },
  },
];

describe('a turn that is cancelled', () => {
  it.each(STATES)(
    'while it is $name ends, is stored and billed as delivered, and frees its blocks',
    async ({ name, reach, body = BODY }) => {
      const [ends, frees]: [number[], number[]] = [[], []];
      for (let trial = 0; trial < TRIALS; trial += 1) {
        await expectNothingLeft(scene, usedBlocks);
        const turn = followTurn(scene.callers, await newConversation(gateway(0)), body);
        const at = await reach(turn);
        const since = performance.now();
        const free = waitFor('its blocks are free', async () => (await usedBlocks()) === 0).then(
          () => frees.push(performance.now() - since),
        );
        await cancelled(turn.conversationId, at ?? gateway(0));
        await expectDelivered(turn);
        ends.push(performance.now() - since);
        await free;
      }
      reportTrials(`cancelled while ${name}`, {
        trials: TRIALS,
        endMs: spread(ends),
        freeMs: spread(frees),
      });
    },
    timeFor(TRIALS, 30_000),
  );

  it('while it waits in the queue never starts', async () => {
    await expectNothingLeft(scene, usedBlocks);
    const pool = processesOf(scene.system, 'inference-worker').filter(
      (each) => each.pool === 'default',
    );
    for (const worker of pool) freeze(worker);
    try {
      const turn = followTurn(scene.callers, await newConversation(gateway(0)), BODY);
      await turn.until(({ event }) => event === 'open');
      await cancelled(turn.conversationId);
      for (const worker of pool) thaw(worker);
      await expectDelivered(turn);
    } finally {
      for (const worker of pool) thaw(worker);
    }
  }, 60_000);

  it(
    'while Valkey restarts ends all the same',
    async () => {
      for (let trial = 0; trial < TRIALS; trial += 1) {
        await expectNothingLeft(scene, usedBlocks);
        const turn = followTurn(scene.callers, await newConversation(gateway(0)), BODY);
        await toToken(turn, 5);
        kill(processNamed(scene.system, 'redis'));
        await cancelled(turn.conversationId);
        await expectDelivered(turn);
      }
    },
    timeFor(TRIALS, 60_000),
  );

  it(
    'at any moment, again and again, leaves nothing behind',
    async () => {
      await expectNothingLeft(scene, usedBlocks);
      let left = CANCELS;
      const reasons = new Map<string, number>();
      const client = async (): Promise<void> => {
        while (left-- > 0) {
          const conversationId = await newConversation(gateway(randomInt(2)));
          const body = { ...BODY, max_tokens: 60 };
          const turn = followTurn(scene.callers, conversationId, body);
          await new Promise((resolve) => setTimeout(resolve, randomInt(400)));
          await cancelled(conversationId, gateway(randomInt(2)));
          // A cancel that comes before its turn is accepted finds nothing to cancel; the turn then ends by itself.
          await expectDelivered(turn, ['cancelled', 'length', 'stop']);
          const reason = String(turn.events.at(-1)?.data['finish_reason']);
          reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
        }
      };
      await Promise.all(Array.from({ length: CLIENTS }, client));
      await expectNothingLeft(scene, usedBlocks);
      expect(reasons.get('cancelled')).toBeGreaterThan(0);
      reportTrials('random cancels', { cancels: CANCELS, ended: Object.fromEntries(reasons) });
    },
    timeFor(CANCELS, 2000),
  );
});
