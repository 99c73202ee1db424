// Valkey, PostgreSQL and Temporal fail in mid-turn: every turn ends and is stored and billed once, its reader gets the whole
// text, and what cannot be served meanwhile is refused soon, by name.
import { startFailoverScene } from '../../helpers/failover-scene.ts';
import type { FailoverScene } from '../../helpers/failover-scene.ts';
import {
  answerOf,
  everyProcessReady,
  freeze,
  freezeFor,
  kill,
  processNamed,
  thaw,
} from '../../helpers/system-processes.ts';
import { call } from '../../helpers/turn-client.ts';
import { reportTrials, spread, timeFor, TRIALS } from '../../helpers/trials.ts';
import { waitFor } from '../../helpers/wait-for.ts';

const FROZEN_MS = Number(process.env['COLLOQUY_FROZEN_MS'] ?? 3000);

let scene: FailoverScene;
beforeAll(async () => {
  scene = await startFailoverScene();
}, 300_000);
afterAll(() => scene.close(), 60_000);

const anyEvent = (): number => 2 + Math.floor(Math.random() * 30);
const service = (name: string) => processNamed(scene.system, name);

async function trials(name: string, happen: () => Promise<unknown> | void): Promise<void> {
  const [turnMs, pauses]: [number[], number[]] = [[], []];
  for (let trial = 0; trial < TRIALS; trial += 1) {
    const turn = await scene.begin(trial, anyEvent());
    await happen();
    const since = performance.now();
    await scene.expectWhole(turn, trial);
    turnMs.push(performance.now() - since);
    pauses.push(turn.longestPauseMs);
  }
  reportTrials(name, { trials: TRIALS, pauseMs: spread(pauses), wholeAfterMs: spread(turnMs) });
}

describe('a turn is whole, stored once and billed once when', () => {
  it(
    'Valkey forgets everything (FLUSHALL)',
    () => trials('FLUSHALL', () => scene.audit.redis.flushall()),
    timeFor(TRIALS, 30_000),
  );

  it.each(['redis', 'postgres', 'temporal'])(
    '%s is killed and comes back',
    (name) => trials(`${name} killed`, () => kill(service(name))),
    timeFor(TRIALS, 60_000),
  );

  it.each(['redis', 'postgres', 'temporal'])(
    '%s is frozen and wakes',
    (name) => trials(`${name} frozen`, () => freezeFor(service(name), FROZEN_MS)),
    timeFor(TRIALS, 60_000),
  );
});

describe('while a service is away', () => {
  it.each(['redis', 'postgres', 'temporal'])(
    '%s is named by readyz, and a new turn is refused within two seconds and says when to come back',
    async (name) => {
      await everyProcessReady(scene.system, scene.names);
      const [caller] = scene.callers();
      if (caller === undefined) throw new Error('There is no gateway.');
      const { json } = await call(caller, 'POST', '/v1/conversations', {});
      const entry = service(name);
      freeze(entry);
      try {
        const { status, body } = await waitFor('readyz is red', async () => {
          const answer = await answerOf(`${caller.gateway}/readyz`);
          return answer.status === 503 ? answer : null;
        });
        expect([status, JSON.parse(body)]).toEqual([
          503,
          { status: 'not ready', missing: expect.arrayContaining([name]) },
        ]);
        const since = performance.now();
        const path = `/v1/conversations/${String(json['conversation_id'])}/turns`;
        const answer = await call(caller, 'POST', path, { role: 'user', content: 'Hello' });
        const tookMs = performance.now() - since;
        expect(answer.status).toBe(503);
        expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
        reportTrials(`refused without ${name}`, { tookMs: Math.round(tookMs) });
        // The promise is 2 s; a loaded machine is given twice that before the claim counts as broken.
        expect(tookMs).toBeLessThan(4000);
      } finally {
        thaw(entry);
      }
      await everyProcessReady(scene.system, scene.names);
    },
    120_000,
  );
});
