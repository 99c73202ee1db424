// Under load: workers are killed one after the other, and all of the system is restarted, and no turn fails.
import { randomInt } from 'node:crypto';
import { expectNothingLeft, startFailoverScene } from '../../helpers/failover-scene.ts';
import type { FailoverScene } from '../../helpers/failover-scene.ts';
import { kill, numUsedBlocks } from '../../helpers/system-processes.ts';
import { runScript } from '../../helpers/system.ts';
import { newConversation } from '../../helpers/turn-client.ts';
import { followTurn } from '../../helpers/turn-follower.ts';
import type { FollowedTurn } from '../../helpers/turn-follower.ts';
import { reportTrials, spread } from '../../helpers/trials.ts';

/** Turns of each client; 100 for the bar. */
const TURNS = Number(process.env['COLLOQUY_TURNS'] ?? 3);
const CLIENTS = 8;
const KILL_EVERY_MS = Number(process.env['COLLOQUY_KILL_EVERY_MS'] ?? 4000);

let scene: FailoverScene;
beforeAll(async () => {
  scene = await startFailoverScene();
}, 300_000);
afterAll(() => scene.close(), 60_000);

/** Clients that take turns one after the other, in conversations of their own, at changing gateways. */
async function load(isOver: (numDone: number) => boolean): Promise<FollowedTurn[]> {
  const turns: FollowedTurn[] = [];
  const client = async (number: number): Promise<void> => {
    for (let done = 0; !isOver(done); done += 1) {
      const callers = () => {
        const all = scene.callers();
        return [...all.slice(number % all.length), ...all.slice(0, number % all.length)];
      };
      const conversationId = await firstOf(callers(), newConversation);
      const turn = followTurn(callers, conversationId, {
        content: `Client ${number} asks question ${done} about the sea.`,
        max_tokens: 40,
        temperature: 1,
        seed: randomInt(1000),
      });
      turns.push(turn);
      await turn.done;
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, (_, number) => client(number)));
  return turns;
}

/** The first gateway's answer; a gateway that restarts is passed over. */
async function firstOf<Each, Result>(
  all: readonly Each[],
  ask: (each: Each) => Promise<Result>,
): Promise<Result> {
  for (;;) {
    for (const each of all) {
      try {
        return await ask(each);
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }
}

/** Each turn ended by itself, and is stored and billed once, with the text that its reader has. */
async function expectAllWhole(turns: readonly FollowedTurn[]): Promise<void> {
  for (const turn of turns) {
    expect(['stop', 'length']).toContain(turn.events.at(-1)?.data['finish_reason']);
    const { replies, ledger } = await scene.audit.recordOf(turn.turnId);
    expect(replies.map(({ content }) => content)).toEqual([turn.text]);
    expect(ledger).toHaveLength(1);
  }
  const workers = () => scene.system.processes().filter(({ kind }) => kind === 'inference-worker');
  await expectNothingLeft(scene, async () =>
    (await Promise.all(workers().map(numUsedBlocks))).reduce((sum, used) => sum + used, 0),
  );
}

describe('under load no turn fails', () => {
  it(
    'when a worker is killed again and again',
    async () => {
      let kills = 0;
      let next = 0;
      const killer = setInterval(() => {
        const workers = scene.system.processes().filter(({ pool }) => pool === 'default');
        const victim = workers[next++ % workers.length];
        if (workers.length < 2 || victim === undefined) return; // the one before is not back yet
        kill(victim);
        kills += 1;
      }, KILL_EVERY_MS);
      const turns = await load((done) => done >= TURNS && kills > 0).finally(() =>
        clearInterval(killer),
      );
      await expectAllWhole(turns);
      const pauseMs = spread(turns.map(({ longestPauseMs }) => longestPauseMs));
      reportTrials('workers killed under load', { turns: turns.length, kills, failed: 0, pauseMs });
    },
    600_000 + TURNS * 10_000,
  );

  it(
    'when every process of ours is restarted, one after the other',
    async () => {
      let isRestarted = false;
      const restart = runScript(scene.system, 'restart.mjs', '--rolling').finally(
        () => (isRestarted = true),
      );
      const turns = await load(() => isRestarted);
      const said = await restart;
      expect(said).toContain(`${scene.names.length - 4} processes restarted.`);
      await expectAllWhole(turns);
      const pauseMs = spread(turns.map(({ longestPauseMs }) => longestPauseMs));
      const refusals = turns.flatMap((turn) => turn.refusals).length;
      reportTrials('rolling restart under load', {
        turns: turns.length,
        failed: 0,
        refusals,
        pauseMs,
      });
    },
    600_000 + TURNS * 10_000,
  );
});
