// The sweep and its extractions on real Temporal, and what a restored log says of a turn's facts.
import { Runtime } from '@temporalio/worker';
import { createMemoryActivities } from '../../../activities/memory.ts';
import { createExtractionActivities } from '../../../activities/memory-extraction.ts';
import { loadCatalog, poolTaskQueue } from '../../../contracts/catalog.ts';
import { newFactId } from '../../../contracts/ids.ts';
import { BACKGROUND_TASK_QUEUE } from '../../../contracts/turn-workflow.ts';
import { RuleFactGuard } from '../../../moderation/fact-guard.ts';
import { rows } from '../../../postgres/pool.ts';
import { createLogger } from '../../../process/logger.ts';
import { projectPath } from '../../../process/paths.ts';
import { createWorker } from '../../../process/temporal.ts';
import { fakeServedModel } from '../../helpers/fake-served-model.ts';
import { hashEmbedder } from '../../helpers/hash-embedder.ts';
import { services } from '../../helpers/services.ts';
import { startTurnHarness } from '../../helpers/turn-harness.ts';
import type { TurnHarness } from '../../helpers/turn-harness.ts';
import { waitFor } from '../../helpers/wait-for.ts';

let harness: TurnHarness;
beforeAll(async () => {
  harness = await startTurnHarness();
}, 60_000);
afterAll(async () => {
  await harness.close();
  await Runtime.instance().shutdown();
}, 30_000);

async function startWorker(taskQueue: string, activities: object, hasWorkflows: boolean) {
  const { temporalAddress, workflowBundlePath } = services();
  const worker = await createWorker(
    harness.temporal,
    {
      address: temporalAddress,
      namespace: 'default',
      workflowBundle: workflowBundlePath,
      stackTraces: false,
    },
    {
      taskQueue,
      activities,
      hasWorkflows,
      identity: taskQueue,
      maxConcurrentActivities: 5,
      graceMs: 0,
    },
  );
  const running = worker.run();
  return async (): Promise<void> => {
    worker.shutdown();
    await running;
  };
}

describe('the memory sweep', () => {
  it('has a conversation read once by a worker of its pool, with ids and counts in the histories', async () => {
    const stopPool = await harness.startPool('mini', fakeServedModel({ reply: 'Noted.' }));
    const id = await harness.newConversation();
    const turn = await harness.accept(id, 'I live in Canaryville. My password is canary99.');
    await (await harness.start(turn)).result();
    await stopPool();

    const logger = createLogger('test', { logLevel: 'fatal', processName: '' });
    const { stores } = harness;
    const catalog = loadCatalog(projectPath('config', 'catalog.yaml'));
    const sweeping = createMemoryActivities({ stores, catalog, logger, idleMs: 0 });
    const extraction = createExtractionActivities({
      stores,
      logger,
      guard: new RuleFactGuard(),
      judge: null,
      embedder: () => hashEmbedder(),
    });
    const stops = [
      await startWorker(BACKGROUND_TASK_QUEUE, sweeping, true),
      await startWorker(poolTaskQueue('mini'), extraction, false),
    ];
    const { workflow } = harness.dispatch.client;
    const sweep = async (): Promise<unknown> =>
      workflow.execute('memorySweep', {
        taskQueue: BACKGROUND_TASK_QUEUE,
        workflowId: `sweep/${newFactId()}`,
      });
    expect(await sweep()).toBe(1);
    const handle = workflow.getHandle(`memory/${id}/${turn.turnId}`);
    expect(await handle.result()).toMatchObject({ numTurns: 1, numCandidates: 1, numNew: 1 });
    const facts = await rows(harness.db, 'select text from user_memory');
    expect(facts).toEqual([{ text: 'The user lives in Canaryville.' }]);
    const history = JSON.stringify(await handle.fetchHistory(), (_, value: unknown) =>
      value instanceof Uint8Array ? Buffer.from(value).toString() : value,
    );
    expect(history).toContain(turn.turnId);
    expect(history).not.toMatch(/canary/iu);
    expect(await sweep()).toBe(0);
    for (const stop of stops) await stop();
  });
});

describe('a turn whose log is lost', () => {
  it('says its facts in the one that takes its place', async () => {
    const facts = [newFactId(), newFactId()];
    const model = fakeServedModel({ reply: 'abcdef' });
    const stopPool = await harness.startPool('mini', model);
    const turn = await harness.accept(await harness.newConversation(), 'letters');
    await rows(harness.db, 'update turn_requests set fact_ids = $2 where turn_id = $1', [
      turn.turnId,
      facts,
    ]);
    const seal = jest.spyOn(harness.turnLog, 'seal');
    seal.mockImplementationOnce(async (...given) => {
      await harness.redis.flushall();
      return harness.turnLog.seal(...given);
    });
    await (await harness.start(turn)).result();
    seal.mockRestore();
    const [open] = await waitFor('the log is there again', async () => {
      const entries = await harness.entries(turn.turnId);
      return entries.length > 0 ? entries : undefined;
    });
    expect(open).toMatchObject({ type: 'open', data: { turn_id: turn.turnId, memory: facts } });
    await stopPool();
  });
});
