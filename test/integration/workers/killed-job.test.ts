// A batch job whose worker is killed in the middle of its batches: the real background worker as compiled (npm run
// build), with a tiny encoder, in processes of its own. COLLOQUY_JOB_KILLS asks for more kills than one.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { Client } from '@temporalio/client';
import { Runtime } from '@temporalio/worker';
import { row, rows } from '../../../postgres/pool.ts';
import { startJobHarness } from '../../helpers/job-harness.ts';
import type { JobHarness } from '../../helpers/job-harness.ts';
import { services } from '../../helpers/services.ts';
import { ROOT, sharedHome } from '../../helpers/test-home.ts';
import { waitFor } from '../../helpers/wait-for.ts';

const KILLS = Number(process.env['COLLOQUY_JOB_KILLS'] ?? 1);
/** Facts that are embedded between two kills. */
const FACTS_PER_KILL = 500;

let harness: JobHarness;
let worker: ChildProcess | null = null;

beforeAll(async () => {
  harness = await startJobHarness();
}, 60_000);
afterAll(async () => {
  await kill();
  const { schedule } = new Client({ connection: harness.temporal });
  // The worker's, which would go on to start workflows that nobody runs.
  for await (const { scheduleId } of schedule.list()) await schedule.getHandle(scheduleId).delete();
  await harness.close();
  await Runtime.instance().shutdown();
}, 30_000);

function startWorker(): ChildProcess {
  const { databaseUrl: _, redisUrl, temporalAddress, workflowBundlePath } = services();
  return spawn(process.execPath, ['dist/workers/background-worker.js'], {
    cwd: ROOT,
    env: {
      PATH: process.env['PATH'],
      COLLOQUY_HOME: sharedHome().root,
      ENCODER_WEIGHTS: join(ROOT, 'test', 'fixtures', 'architectures', 'bert.gguf'),
      DATABASE_URL: harness.url,
      REDIS_URL: redisUrl,
      TEMPORAL_ADDRESS: temporalAddress,
      WORKFLOW_BUNDLE: workflowBundlePath,
      LOG_LEVEL: 'fatal',
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

async function kill(): Promise<void> {
  if (worker === null || worker.exitCode !== null || worker.signalCode !== null) return;
  const gone = once(worker, 'exit');
  worker.kill('SIGKILL');
  await gone;
}

/** Facts that were written, and how often in all. */
async function written(): Promise<{ facts: number; writes: number }> {
  const found = await row<{ facts: number; writes: number }>(
    harness.db,
    'select count(distinct fact_id) as facts, count(*) as writes from fact_writes',
  );
  return found ?? { facts: 0, writes: 0 };
}

describe('a job whose worker is killed', () => {
  it(
    'goes on where it was, does nothing twice, and its count comes out',
    async () => {
      const numFacts = (KILLS + 1) * FACTS_PER_KILL;
      const { userId } = await harness.newUser();
      const words =
        'The user said that the harbour of the town was closed for a long and cold winter';
      await harness.addFacts(
        userId,
        Array.from({ length: numFacts }, (_, at) => `${words}, number ${at}.`),
      );
      await rows(harness.db, 'create table fact_writes (fact_id uuid not null)');
      await rows(
        harness.db,
        `create function note_write() returns trigger language plpgsql as
         'begin insert into fact_writes values (new.fact_id); return new; end'`,
      );
      await rows(
        harness.db,
        `create trigger noted after update on user_memory for each row execute function note_write()`,
      );
      worker = startWorker();
      await harness.jobs.start('re-embed', 10_000);
      for (let killed = 0; killed < KILLS; killed += 1) {
        const enough =
          killed * FACTS_PER_KILL + Math.floor(Math.random() * FACTS_PER_KILL * 0.7) + 1;
        await waitFor('it is in the middle', async () => (await written()).facts >= enough, 60_000);
        await kill();
        expect((await written()).facts).toBeLessThan(numFacts);
        worker = startWorker();
      }
      const ended = await harness.until(
        'it ends',
        're-embed',
        ({ state }) => state === 'ended',
        60_000,
      );
      expect(ended).toMatchObject({ done: numFacts, total: numFacts, skipped: 0 });
      expect(await written()).toEqual({ facts: numFacts, writes: numFacts });
      const stale =
        'select fact_id from user_memory where embedding is null or embedding_model is null';
      expect(await rows(harness.db, stale)).toEqual([]);
      await kill();
    },
    60_000 + KILLS * 30_000,
  );
});
