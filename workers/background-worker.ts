// Process entry: housekeeping and memory, started by Temporal schedules that this process makes sure exist, and batch jobs,
// started by operators.
import { constants, setPriority } from 'node:os';
import { WorkflowNotFoundError } from '@temporalio/client';
import { createJobActivities } from '../activities/batch-jobs.ts';
import { createErasureActivities } from '../activities/erasure.ts';
import { createBackFill } from '../activities/job-back-fill.ts';
import { createReEmbed } from '../activities/job-re-embed.ts';
import { createStatistics } from '../activities/job-statistics.ts';
import { createMaintenanceActivities } from '../activities/maintenance.ts';
import { createMemoryActivities } from '../activities/memory.ts';
import { persistTurn } from '../activities/persist-turn.ts';
import { createRetentionActivities } from '../activities/retention.ts';
import { createSummaryActivities } from '../activities/summaries.ts';
import { BACKGROUND_TASK_QUEUE, turnWorkflowId } from '../contracts/turn-workflow.ts';
import type { TurnInput } from '../contracts/turn-workflow.ts';
import { createExecutions } from '../process/executions.ts';
import { main } from '../process/start.ts';
import { createWorker } from '../process/temporal.ts';
import { createTurnDispatch } from '../process/turn-dispatch.ts';
import { RedisConversationCache } from '../redis/conversation-cache.ts';
import { RedisTurnLogWriter } from '../redis/turn-log-writer.ts';
import { createJobModels } from './job-models.ts';
import { makeMonths, observePartitions } from './partition-horizon.ts';
import { ensureSchedules } from './schedules.ts';
import { startWorkerProcess } from './worker-process.ts';

main('background-worker', async () => {
  // Nobody waits for its work: where a core is short, turns have it. Threads made from here on, the encoder's too, inherit it.
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
  const { config, identity, logger, metrics, catalog, stores, redis, temporal, shutdown, run } =
    await startWorkerProcess('background-worker');
  const models = createJobModels(config, catalog);
  shutdown.onStop('job models', () => models.close());
  const dispatch = createTurnDispatch({
    connection: temporal,
    settings: config.temporal,
    catalog,
    isEager: false,
  });
  const workflowState = async (turn: TurnInput): Promise<'running' | 'closed' | 'unknown'> => {
    try {
      const { status } = await dispatch.client.workflow
        .getHandle(turnWorkflowId(turn.conversationId, turn.turnId))
        .describe();
      return status.name === 'RUNNING' ? 'running' : 'closed';
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return 'unknown';
      throw error;
    }
  };
  const deps = {
    stores,
    catalog,
    metrics,
    logger,
    turnLog: new RedisTurnLogWriter(redis),
    cache: new RedisConversationCache(redis, config.cache),
  };
  const erasure = {
    ...deps,
    redis,
    dispatch,
    executions: createExecutions(dispatch.client),
  };
  const activities = {
    ...createMemoryActivities({ stores, catalog, logger }),
    ...createSummaryActivities({ stores, catalog, logger }),
    ...createMaintenanceActivities({
      stores,
      logger,
      workflowState,
      persistTurn: (input) => persistTurn(deps, input),
      start: dispatch.start,
    }),
    ...createJobActivities({
      stores,
      logger,
      works: {
        're-embed': createReEmbed(models.withEmbedder),
        'back-fill': createBackFill(models.countTokens),
        statistics: createStatistics(),
      },
    }),
    ...createErasureActivities(erasure),
    ...createRetentionActivities({ ...erasure, catalog, ownerUrls: config.postgres.ownerUrls }),
  };
  await makeMonths(stores, logger);
  observePartitions(metrics, stores);
  await ensureSchedules(dispatch.client);
  const worker = await createWorker(temporal, config.temporal, {
    identity,
    taskQueue: BACKGROUND_TASK_QUEUE,
    activities,
    hasWorkflows: true,
    maxConcurrentActivities: 10,
    graceMs: config.http.drainMs,
  });
  await run(worker);
});
