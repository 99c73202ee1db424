// Batch jobs on real Temporal and PostgreSQL, steered as an operator steers them.
import { Client } from '@temporalio/client';
import { Runtime } from '@temporalio/worker';
import type { Beat, JobWork } from '../../../activities/batch-jobs.ts';
import { createBackFill } from '../../../activities/job-back-fill.ts';
import { createReEmbed } from '../../../activities/job-re-embed.ts';
import { createStatistics } from '../../../activities/job-statistics.ts';
import { JOB_WORKFLOW, jobWorkflowId } from '../../../contracts/batch-jobs.ts';
import type { TextEmbedder } from '../../../contracts/text-embedder.ts';
import { AppError } from '../../../contracts/errors.ts';
import { BACKGROUND_TASK_QUEUE } from '../../../contracts/turn-workflow.ts';
import { rows } from '../../../postgres/pool.ts';
import { createJobDatabase } from '../../helpers/job-database.ts';
import { onlyWork, startJobHarness } from '../../helpers/job-harness.ts';
import type { JobHarness } from '../../helpers/job-harness.ts';
import { waitFor } from '../../helpers/wait-for.ts';

const WIDTH = 4;

let harness: JobHarness;
beforeAll(async () => {
  harness = await startJobHarness();
}, 60_000);
afterAll(async () => {
  await harness.close();
  await Runtime.instance().shutdown();
}, 30_000);
afterEach(async () => {
  await rows(harness.db, 'delete from user_memory');
});

/** Counts how often each text was embedded. */
function fakeEmbedder(model = 'fake'): TextEmbedder & { readonly seen: Map<string, number> } {
  const seen = new Map<string, number>();
  return {
    model,
    width: WIDTH,
    seen,
    embed: async (texts) => {
      for (const text of texts) seen.set(text, (seen.get(text) ?? 0) + 1);
      return new Float32Array(texts.length * WIDTH).fill(0.5);
    },
  };
}

const reEmbed = (embedder: TextEmbedder): JobWork => createReEmbed((work) => work(embedder));
const texts = (count: number): string[] => Array.from({ length: count }, (_, at) => `fact ${at}`);

async function addFacts(count: number): Promise<void> {
  const { userId } = await harness.newUser();
  await harness.addFacts(userId, texts(count));
}

async function numFresh(model = 'fake'): Promise<number> {
  const text = 'select user_id from user_memory where embedding_model = $1';
  return (await rows(harness.db, text, [model])).length;
}

/** Work of `numItems` numbered items that waits at a gate before each of its ranges. */
function gatedWork(numItems: number) {
  const ran: number[] = [];
  let isOpen = false;
  let waiting: () => void = () => undefined;
  const work: JobWork = {
    count: async () => numItems,
    next: async (_db, after, limit) => {
      const from = after === null ? 0 : Number(after) + 1;
      const through = Math.min(from + limit, numItems) - 1;
      return through < from ? null : { through: String(through), count: through - from + 1 };
    },
    run: async (_db, { after, through }, beat: Beat) => {
      while (!isOpen) {
        await new Promise<void>((resolve) => {
          waiting = resolve;
          setTimeout(resolve, 20);
        });
        beat();
      }
      for (let item = after === null ? 0 : Number(after) + 1; item <= Number(through); item += 1)
        ran.push(item);
      return 0;
    },
  };
  const open = (): void => {
    isOpen = true;
    waiting();
  };
  return { work, ran, open };
}

describe('a batch job', () => {
  it('does every item once, tells true progress, and finds nothing when it is started again', async () => {
    await addFacts(150);
    const embedder = fakeEmbedder();
    const stop = await harness.startWorker(onlyWork('re-embed', reEmbed(embedder)));
    await harness.jobs.start('re-embed', 20_000);
    const ended = await harness.until('it ends', 're-embed', ({ state }) => state === 'ended');
    expect(ended).toMatchObject({ done: 150, total: 150, skipped: 0, maxRate: 20_000 });
    expect(await numFresh()).toBe(150);
    expect(embedder.seen).toEqual(new Map(texts(150).map((text) => [text, 1])));
    await harness.jobs.start('re-embed', null);
    await harness.until(
      'it ends at once',
      're-embed',
      ({ state, total }) => state === 'ended' && total === 0,
    );
    expect(embedder.seen.size).toBe(150);
    await stop();
  });

  it('embeds anew what another model embedded', async () => {
    await addFacts(5);
    for (const model of ['fake', 'newer']) {
      const stop = await harness.startWorker(onlyWork('re-embed', reEmbed(fakeEmbedder(model))));
      await harness.jobs.start('re-embed', 1000);
      await harness.until(
        'it ends',
        're-embed',
        ({ state, done }) => state === 'ended' && done === 5,
      );
      expect(await numFresh(model)).toBe(5);
      await stop();
    }
  });

  it('rests behind its batch when it is paused, holds there through a restart of its worker, and goes on', async () => {
    const { work, ran, open } = gatedWork(20);
    const stop = await harness.startWorker(onlyWork('re-embed', work));
    await harness.jobs.start('re-embed', 5);
    await harness.until(
      'its first batch is under way',
      're-embed',
      ({ state }) => state === 'running',
    );
    await harness.jobs.pause('re-embed');
    await harness.jobs.pause('re-embed');
    await harness.until('it knows', 're-embed', ({ state }) => state === 'pausing');
    open();
    const paused = await harness.until('it rests', 're-embed', ({ state }) => state === 'paused');
    expect(paused).toMatchObject({ done: 10, total: 20, lastId: '9' });
    expect(ran).toHaveLength(10);
    await stop();
    const restarted = await harness.startWorker(onlyWork('re-embed', work));
    expect(await harness.until('it is asked again', 're-embed', () => true)).toEqual(paused);
    expect(ran).toHaveLength(10);
    await harness.jobs.resume('re-embed');
    const ended = await harness.until('it ends', 're-embed', ({ state }) => state === 'ended');
    expect(ended).toMatchObject({ done: 20, total: 20, lastId: '19' });
    expect(ran).toEqual(Array.from({ length: 20 }, (_, item) => item));
    await restarted();
  }, 60_000);

  it('hands the batch under way over when its worker is told to stop', async () => {
    const { work, ran, open } = gatedWork(4);
    const stop = await harness.startWorker(onlyWork('back-fill', work));
    await harness.jobs.start('back-fill', null);
    await harness.until('it runs', 'back-fill', ({ state }) => state === 'running');
    await stop();
    const other = await harness.startWorker(onlyWork('back-fill', work));
    open();
    const ended = await harness.until('it ends', 'back-fill', ({ state }) => state === 'ended');
    expect(ended).toMatchObject({ done: 4, total: 4 });
    expect(ran).toEqual([0, 1, 2, 3]);
    await other();
  });

  it('keeps to its rate', async () => {
    const { work, open } = gatedWork(60);
    open();
    const stop = await harness.startWorker(onlyWork('re-embed', work));
    const startedAt = performance.now();
    await harness.jobs.start('re-embed', 20);
    await harness.until('one batch is done', 're-embed', ({ done }) => done >= 40);
    const { rate } = await harness.until('it ends', 're-embed', ({ state }) => state === 'ended');
    expect(60 / ((performance.now() - startedAt) / 1000)).toBeLessThan(30);
    expect(rate).toBeLessThanOrEqual(20);
    await stop();
  });

  it('runs once at a time, says so, and says what does not run', async () => {
    const { work, open } = gatedWork(4);
    const stop = await harness.startWorker(onlyWork('back-fill', work));
    await harness.jobs.start('back-fill', null);
    await expect(harness.jobs.start('back-fill', null)).rejects.toThrow(
      'Job back-fill runs already.',
    );
    open();
    await harness.until('it ends', 'back-fill', ({ state }) => state === 'ended');
    await expect(harness.jobs.pause('back-fill')).rejects.toThrow('Job back-fill does not run.');
    await stop();
    expect(await harness.jobs.progress('back-fill')).toMatchObject({
      status: 'completed',
      progress: { done: 4, total: 4 },
    });
  });

  it('ends in the middle of a batch when it is cancelled', async () => {
    const { work, ran } = gatedWork(4);
    const stop = await harness.startWorker(onlyWork('back-fill', work));
    await harness.jobs.start('back-fill', null);
    await harness.until('it runs', 'back-fill', ({ state }) => state === 'running');
    await harness.jobs.cancel('back-fill');
    await waitFor('it is cancelled', async () => {
      const { status } = await harness.jobs.progress('back-fill');
      return status === 'canceled';
    });
    expect(ran).toEqual([]);
    await stop();
  });

  it('begins new histories on its way and loses neither its place nor its counts', async () => {
    const { work, ran, open } = gatedWork(60);
    open();
    const stop = await harness.startWorker(onlyWork('re-embed', work));
    const client = new Client({ connection: harness.temporal });
    const input = { name: 're-embed' as const, rate: 5000, batchesPerRun: 2 };
    // Batches of 16.
    const slow = {
      ...work,
      next: (...[db, after]: Parameters<JobWork['next']>) =>
        work.next(db, after, 16, () => undefined),
    };
    await stop();
    const restarted = await harness.startWorker(onlyWork('re-embed', slow));
    const handle = await client.workflow.start(JOB_WORKFLOW, {
      taskQueue: BACKGROUND_TASK_QUEUE,
      workflowId: jobWorkflowId('re-embed'),
      args: [input],
    });
    expect(await handle.result()).toMatchObject({ done: 60, total: 60, lastId: '59' });
    expect(ran).toEqual(Array.from({ length: 60 }, (_, item) => item));
    const { runId } = await client.workflow.getHandle(jobWorkflowId('re-embed')).describe();
    expect(runId).not.toBe(handle.firstExecutionRunId);
    await restarted();
  });

  it('waits for a store that is away, and tells so', async () => {
    const { work, ran, open } = gatedWork(4);
    open();
    let isAway = true;
    const flaky: JobWork = {
      ...work,
      run: (db, range, beat) =>
        isAway ? Promise.reject(new AppError('STORAGE_UNAVAILABLE')) : work.run(db, range, beat),
    };
    const stop = await harness.startWorker(onlyWork('back-fill', flaky));
    await harness.jobs.start('back-fill', null);
    await waitFor('its trouble is told', async () => {
      const { note } = await harness.jobs.progress('back-fill');
      return note !== null && /attempt \d+ of a batch: STORAGE_UNAVAILABLE/.test(note);
    });
    isAway = false;
    await harness.until('it ends', 'back-fill', ({ state }) => state === 'ended');
    expect(ran).toEqual([0, 1, 2, 3]);
    await stop();
  });

  it('visits every database', async () => {
    const second = await createJobDatabase();
    await addFacts(3);
    await second.addFacts((await second.newUser()).userId, ['elsewhere one', 'elsewhere two']);
    const embedder = fakeEmbedder();
    const primaries = [harness.db, second.db];
    const stop = await harness.startWorker(onlyWork('re-embed', reEmbed(embedder)), { primaries });
    await harness.jobs.start('re-embed', 1000);
    await harness.until(
      'it ends',
      're-embed',
      ({ state, done }) => state === 'ended' && done === 5,
    );
    expect(embedder.seen.get('elsewhere two')).toBe(1);
    await stop();
    await second.close();
  });
});

describe('the other jobs', () => {
  it('count tokens by the model of each turn and leave those of an unknown one', async () => {
    const { db } = harness;
    const { userId, orgId } = await harness.newUser();
    const known = await harness.newConversation(userId, orgId);
    const unknown = await harness.newConversation(userId, orgId);
    await rows(db, `update conversations set model = 'gone' where conversation_id = $1`, [unknown]);
    const at = new Date();
    await harness.addTurns(known, userId, [
      { at, content: 'one two three' },
      { at, content: '' },
    ]);
    await harness.addTurns(unknown, userId, [{ at, content: 'nobody counts me' }]);
    const work = createBackFill(async ({ model }, text) =>
      model === 'colloquy-mini' ? text.split(' ').filter(Boolean).length : null,
    );
    const stop = await harness.startWorker(onlyWork('back-fill', work));
    await harness.jobs.start('back-fill', 1000);
    const ended = await harness.until('it ends', 'back-fill', ({ state }) => state === 'ended');
    expect(ended).toMatchObject({ done: 3, total: 3, skipped: 1 });
    expect(
      await rows(db, 'select token_count from turns where user_id = $1 order by token_count', [
        userId,
      ]),
    ).toEqual([{ token_count: 0 }, { token_count: 3 }, { token_count: null }]);
    await stop();
  });

  it('count days, today among them, and end', async () => {
    const { db } = harness;
    const { userId, orgId } = await harness.newUser();
    await rows(
      db,
      `insert into ledger (turn_id, user_id, org_id, conversation_id, model, finish_reason, prompt_tokens,
         completion_tokens, cached_tokens, cost_usd)
       select uuidv7(-n * interval '1 day'), $1, $2, uuidv7(), 'm', 'stop', 1, 1, 0, 0 from generate_series(0, 19) n`,
      [userId, orgId],
    );
    const stop = await harness.startWorker(onlyWork('statistics', createStatistics()));
    await harness.jobs.start('statistics', 1000);
    await harness.until(
      'it ends',
      'statistics',
      ({ state, done }) => state === 'ended' && done === 20,
    );
    const counted = await rows(db, 'select day from daily_statistics where org_id = $1', [orgId]);
    expect(counted).toHaveLength(20);
    await harness.jobs.start('statistics', 1000);
    // Of them only today and yesterday may still change.
    await harness.until(
      'it ends',
      'statistics',
      ({ state, done }) => state === 'ended' && done <= 2,
    );
    await stop();
  });
});
