// Kills that chance would rarely place: a dependency is frozen or held until the turn is exactly where it must be hit.
import { randomUUID } from 'node:crypto';
import { startFailoverScene } from '../../helpers/failover-scene.ts';
import type { FailoverScene } from '../../helpers/failover-scene.ts';
import { holdAnswers, whileHeld } from '../../helpers/store-holds.ts';
import {
  freeze,
  kill,
  numRunning,
  processNamed,
  processesOf,
  servingWorker,
  thaw,
} from '../../helpers/system-processes.ts';
import type { FollowedTurn } from '../../helpers/turn-follower.ts';
import type { ProcessEntry } from '../../../runtime/run-files.ts';
import { reportTrials, spread, timeFor, TRIALS } from '../../helpers/trials.ts';
import { waitFor } from '../../helpers/wait-for.ts';

let scene: FailoverScene;
beforeAll(async () => {
  scene = await startFailoverScene();
}, 300_000);
afterAll(() => scene.close(), 60_000);

const named = (name: string): ProcessEntry => processNamed(scene.system, name);

/** Trials of a turn that is well until its `event`-th event; the turn must come out whole. */
async function trials(
  name: string,
  event: number,
  happen: (turn: FollowedTurn) => Promise<void>,
): Promise<void> {
  const [pauses, turnMs]: [number[], number[]] = [[], []];
  for (let trial = 0; trial < TRIALS; trial += 1) {
    const turn = await scene.begin(trial, event);
    const since = performance.now();
    await happen(turn);
    await scene.expectWhole(turn, trial);
    pauses.push(turn.longestPauseMs);
    turnMs.push(performance.now() - since);
  }
  reportTrials(name, { trials: TRIALS, pauseMs: spread(pauses), wholeAfterMs: spread(turnMs) });
}

/** Temporal is frozen until the worker has generated and logged all of the turn; then `strike`. */
async function afterLastToken(
  strike: (worker: ProcessEntry) => unknown,
  atLeastMs = 0,
): Promise<void> {
  const worker = await servingWorker(scene.system, 'default');
  const temporal = named('temporal');
  const frozenAt = performance.now();
  freeze(temporal);
  try {
    await waitFor('all tokens are there', async () => (await numRunning(worker)) === 0);
    await strike(worker);
    const isLong = async (): Promise<boolean> => performance.now() - frozenAt >= atLeastMs;
    await waitFor('Temporal was away for long enough', isLong);
  } finally {
    thaw(temporal);
  }
}

/** `strike` falls between the commit of the turn and the terminal entry of its log: Valkey is frozen from before the one on. */
async function afterCommit(turn: FollowedTurn, strike: () => void): Promise<void> {
  const { audit } = scene;
  const redis = named('redis');
  try {
    await whileHeld(audit.db, 'ledger', () => freeze(redis));
    await waitFor('the turn is committed', async () => {
      const { rowCount } = await audit.db.query('select 1 from ledger where turn_id = $1', [
        turn.turnId,
      ]);
      return rowCount === 1;
    });
    strike();
  } finally {
    thaw(redis);
  }
}

describe('a turn goes on token-exactly and is stored and billed once when', () => {
  it(
    'its worker is killed in the prompt',
    async () => {
      const pauses: number[] = [];
      for (let trial = 0; trial < TRIALS; trial += 1) {
        // New words each time, or the prefix cache would spare the prompt.
        const words = `In the year ${randomUUID()} the sea was wide and the ships were far away. `;
        const body = { content: words.repeat(60), max_tokens: 60, temperature: 1, seed: trial };
        const turn = await scene.beginWith(body, 1);
        kill(await servingWorker(scene.system, 'default'));
        expect(turn.events.map(({ event }) => event)).toEqual(['open']);
        const since = performance.now();
        await turn.until(({ event }) => event === 'token');
        pauses.push(performance.now() - since);
        await scene.expectWholeAs(turn, body);
      }
      reportTrials('worker killed in the prompt', { trials: TRIALS, firstTokenMs: spread(pauses) });
    },
    timeFor(TRIALS, 60_000),
  );

  it(
    'its worker is killed between the last token and the store',
    () => trials('worker killed after the last token', 5, () => afterLastToken(kill)),
    timeFor(TRIALS, 60_000),
  );

  it(
    'Valkey forgets everything between the last token and the store',
    () =>
      trials('FLUSHALL after the last token', 5, () =>
        afterLastToken(() => scene.audit.redis.flushall()),
      ),
    timeFor(TRIALS, 60_000),
  );

  it(
    'Valkey forgets everything while Temporal is away for longer than a heartbeat may be',
    () =>
      trials('FLUSHALL in an outage', 5, () =>
        afterLastToken(() => scene.audit.redis.flushall(), 4500),
      ),
    timeFor(TRIALS, 60_000),
  );

  it.each([
    ['its worker is', true, false],
    ['its gateway is', false, true],
    ['its worker and its gateway are', true, true],
  ])(
    '%s killed between the commit and the terminal entry',
    (who, isWorker, isGateway) =>
      trials(`${who} killed after the commit`, 5, async (turn) => {
        const worker = await servingWorker(scene.system, 'default');
        await afterCommit(turn, () => {
          if (isWorker) kill(worker);
          if (isGateway) kill(scene.ownGateway());
        });
      }),
    timeFor(TRIALS, 60_000),
  );

  it(
    'Valkey forgets everything between the commit and the terminal entry',
    () =>
      trials('FLUSHALL in the commit', 5, async () => {
        await whileHeld(scene.audit.db, 'ledger', () => scene.audit.redis.flushall());
      }),
    timeFor(TRIALS, 60_000),
  );

  it(
    'its gateway is killed with the eager workflow task in hand',
    async () => {
      const waits: number[] = [];
      for (let trial = 0; trial < TRIALS; trial += 1) {
        const since = performance.now();
        let turn: FollowedTurn | undefined;
        await whileHeld(
          scene.audit.db,
          'turns',
          () => kill(scene.ownGateway()),
          async () => (turn = await scene.begin(trial, 0)),
        );
        if (turn === undefined) throw new Error('No turn was begun.');
        await scene.expectWhole(turn, trial);
        waits.push(performance.now() - since);
      }
      reportTrials('gateway killed with the eager task', { trials: TRIALS, turnMs: spread(waits) });
    },
    timeFor(TRIALS, 60_000),
  );

  it(
    'PostgreSQL is killed in the statement that stores it',
    () =>
      trials('PostgreSQL killed before the commit', 5, async () => {
        await whileHeld(scene.audit.db, 'ledger', () => kill(named('postgres')));
      }),
    timeFor(TRIALS, 60_000),
  );

  it(
    'PostgreSQL is killed when it has committed and not yet said so',
    () =>
      trials('PostgreSQL killed after the commit', 5, async () => {
        await holdAnswers(scene.audit.db);
        kill(named('postgres'));
      }),
    timeFor(TRIALS, 60_000),
  );

  it(
    'the background worker is killed',
    () =>
      trials('background worker killed', 5, async () => {
        for (const worker of processesOf(scene.system, 'background-worker')) kill(worker);
      }),
    timeFor(TRIALS, 60_000),
  );

  it('the supervisor is killed; its next start ends what runs without one, and a turn in mid-reply goes on there', async () => {
    const orphaned = await scene.begin(0, 5);
    // It alone: everything else is below it.
    process.kill(named('supervisor').pid, 'SIGKILL');
    await scene.expectWhole(orphaned, 0);
    const orphans = scene.system.processes().filter(({ kind }) => kind !== 'supervisor');
    const handedOn = await scene.beginOrphaned(1, 5);
    await scene.system.startAgain();
    await scene.expectWhole(handedOn, 1);
    const now = scene.system.processes();
    for (const { name, pid } of orphans)
      expect(now.find((each) => each.name === name)?.pid).not.toBe(pid);
    reportTrials('supervisor killed', {
      pauseMs: Math.round(orphaned.longestPauseMs),
      restartPauseMs: Math.round(handedOn.longestPauseMs),
    });
  }, 240_000);
});
