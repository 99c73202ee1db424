// Process entry: housekeeping and memory, started by Temporal schedules that this process makes sure exist.
import { WorkflowNotFoundError } from '@temporalio/client';
import { createErasureActivities } from '../activities/erasure.ts';
import { createMaintenanceActivities } from '../activities/maintenance.ts';
import { createMemoryActivities } from '../activities/memory.ts';
import { persistTurn } from '../activities/persist-turn.ts';
import { createRetentionActivities } from '../activities/retention.ts';
import { BACKGROUND_TASK_QUEUE, turnWorkflowId } from '../contracts/turn-workflow.ts';
import type { TurnInput } from '../contracts/turn-workflow.ts';
import { createExecutions } from '../process/executions.ts';
import { main } from '../process/start.ts';
import { createWorker } from '../process/temporal.ts';
import { createTurnDispatch } from '../process/turn-dispatch.ts';
import { RedisTurnLogWriter } from '../redis/turn-log-writer.ts';
import { makeMonths, observePartitions } from './partition-horizon.ts';
import { ensureSchedules } from './schedules.ts';
import { startWorkerProcess } from './worker-process.ts';

main('background-worker', async () => {
  const { config, identity, logger, metrics, catalog, stores, redis, temporal, run } =
    await startWorkerProcess('background-worker');
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
  const deps = { stores, catalog, metrics, logger, turnLog: new RedisTurnLogWriter(redis) };
  const erasure = {
    ...deps,
    redis,
    dispatch,
    executions: createExecutions(dispatch.client),
  };
  const activities = {
    ...createMemoryActivities({ stores, logger }),
    ...createMaintenanceActivities({
      stores,
      logger,
      workflowState,
      persistTurn: (input) => persistTurn(deps, input),
      start: dispatch.start,
    }),
    ...createErasureActivities(erasure),
    ...createRetentionActivities({ ...erasure, catalog, ownerUrls: [config.postgres.ownerUrl] }),
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
