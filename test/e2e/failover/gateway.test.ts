// The processes around the worker are killed, frozen or stopped in mid-turn: gateways, turn workers, and several at once.
import { startFailoverScene } from '../../helpers/failover-scene.ts';
import type { FailoverScene } from '../../helpers/failover-scene.ts';
import { freezeFor, kill, processesOf, servingWorker } from '../../helpers/system-processes.ts';
import type { ProcessEntry } from '../../../runtime/run-files.ts';
import { reportTrials, spread, timeFor, TRIALS } from '../../helpers/trials.ts';

const FROZEN_MS = Number(process.env['COLLOQUY_FROZEN_MS'] ?? 4000);

let scene: FailoverScene;
beforeAll(async () => {
  scene = await startFailoverScene();
}, 300_000);
afterAll(() => scene.close(), 60_000);

const anyEvent = (): number => 2 + Math.floor(Math.random() * 30);
const ownGateway = (): ProcessEntry => scene.ownGateway();
const turnWorker = (): ProcessEntry => {
  const [worker] = processesOf(scene.system, 'turn-worker');
  if (worker === undefined) throw new Error('There is no turn worker.');
  return worker;
};

/** Trials in which something happens to a turn at a random entry; the turn must come out whole. */
async function trials(name: string, happen: () => Promise<void> | void): Promise<void> {
  const pauses: number[] = [];
  for (let trial = 0; trial < TRIALS; trial += 1) {
    const turn = await scene.begin(trial, anyEvent());
    await happen();
    await scene.expectWhole(turn, trial);
    pauses.push(turn.longestPauseMs);
  }
  reportTrials(name, { trials: TRIALS, pauseMs: spread(pauses) });
}

describe('a turn goes on token-exactly and is stored and billed once when', () => {
  it(
    'its gateway is killed and the reader comes back at another one',
    () => trials('gateway killed', () => kill(ownGateway())),
    timeFor(TRIALS, 30_000),
  );

  it(
    'its gateway and its worker are killed together',
    () =>
      trials('gateway and worker killed', async () => {
        const worker = await servingWorker(scene.system, 'default');
        kill(ownGateway());
        kill(worker);
      }),
    timeFor(TRIALS, 30_000),
  );

  it(
    'its gateway drains: the stream ends without done, and the reader resumes elsewhere',
    () => trials('gateway drained', () => void process.kill(ownGateway().pid, 'SIGTERM')),
    timeFor(TRIALS, 40_000),
  );

  it(
    'a turn worker is killed: the reader sees nothing of it',
    () => trials('turn worker killed', () => kill(turnWorker())),
    timeFor(TRIALS, 30_000),
  );

  it.each([
    ['its gateway', ownGateway],
    ['the turn worker', turnWorker],
  ] as const)(
    '%s is frozen and wakes',
    (what, entry) => trials(`${what} frozen`, () => freezeFor(entry(), FROZEN_MS)),
    timeFor(2 * TRIALS, 40_000),
  );

  it(
    'the gateway dies as it starts the turn, with its first workflow task in hand',
    async () => {
      const waits: number[] = [];
      for (let trial = 0; trial < TRIALS; trial += 1) {
        const turn = await scene.begin(trial, 0);
        const since = performance.now();
        // The row comes first, then the log and the workflow's start: the kill falls into or shortly after these.
        await scene.turnAccepted();
        kill(ownGateway());
        await scene.expectWhole(turn, trial);
        waits.push(performance.now() - since);
      }
      reportTrials('gateway killed at the start', { trials: TRIALS, turnMs: spread(waits) });
    },
    timeFor(2 * TRIALS, 40_000),
  );
});
