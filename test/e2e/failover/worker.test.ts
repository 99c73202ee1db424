// The inference worker is killed, frozen or stopped in mid-turn: the reader's text goes on exactly where it was cut.
import { BODIES, startFailoverScene } from '../../helpers/failover-scene.ts';
import type { FailoverScene } from '../../helpers/failover-scene.ts';
import {
  everyProcessReady,
  freeze,
  kill,
  numRunning,
  servingWorker,
  thaw,
} from '../../helpers/system-processes.ts';
import { reportTrials, spread, timeFor, TRIALS } from '../../helpers/trials.ts';
import { waitFor } from '../../helpers/wait-for.ts';

const FROZEN_MS = Number(process.env['COLLOQUY_FROZEN_MS'] ?? 4000);

let scene: FailoverScene;
beforeAll(async () => {
  scene = await startFailoverScene();
}, 300_000);
afterAll(() => scene.close(), 60_000);

/** A random entry of the first half, so that there is a rest to be continued. */
const anyEvent = (): number => 2 + Math.floor(Math.random() * 30);

describe('the inference worker that serves a turn', () => {
  it(
    'is killed: another one goes on token-exactly, and its blocks are nobody’s',
    async () => {
      const pauses: number[] = [];
      for (let trial = 0; trial < Math.max(TRIALS, BODIES.length); trial += 1) {
        const turn = await scene.begin(trial, anyEvent());
        kill(await servingWorker(scene.system, 'default'));
        await scene.expectWhole(turn, trial);
        expect(turn.events.filter(({ event }) => event === 'retry')).toHaveLength(1);
        expect(turn.numConnections).toBe(1);
        pauses.push(turn.longestPauseMs);
      }
      reportTrials('worker killed', { trials: pauses.length, pauseMs: spread(pauses) });
    },
    timeFor(TRIALS + BODIES.length, 15_000),
  );

  it(
    'is frozen and wakes: it writes, stores and bills nothing of the turn that another one has',
    async () => {
      const pauses: number[] = [];
      for (let trial = 0; trial < TRIALS; trial += 1) {
        const turn = await scene.begin(trial, anyEvent());
        const worker = await servingWorker(scene.system, 'default');
        freeze(worker);
        const woken = new Promise<void>((resolve) =>
          setTimeout(() => {
            thaw(worker);
            resolve();
          }, FROZEN_MS),
        );
        await turn.done;
        pauses.push(turn.longestPauseMs);
        await woken;
        await everyProcessReady(scene.system, [worker.name]);
        await waitFor(
          'the woken one has let the turn go',
          async () => (await numRunning(worker)) === 0,
        );
        await scene.expectWhole(turn, trial);
      }
      reportTrials('worker frozen', {
        trials: TRIALS,
        frozenMs: FROZEN_MS,
        pauseMs: spread(pauses),
      });
    },
    timeFor(TRIALS, 40_000),
  );

  it(
    'drains: a turn that it has is finished or handed over, and no new one waits for it',
    async () => {
      for (let trial = 0; trial < TRIALS; trial += 1) {
        const turn = await scene.begin(trial, anyEvent());
        process.kill((await servingWorker(scene.system, 'default')).pid, 'SIGTERM');
        const next = await scene.begin(trial + 1, 2);
        await scene.expectWhole(turn, trial);
        await scene.expectWhole(next, trial + 1);
      }
    },
    timeFor(TRIALS, 40_000),
  );
});
