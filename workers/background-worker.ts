// Process entry: housekeeping and memory, started by Temporal schedules that this process makes sure exist.
import { WorkflowNotFoundError } from '@temporalio/client';
import { createMaintenanceActivities } from '../activities/maintenance.ts';
import { createMemoryActivities } from '../activities/memory.ts';
import { createTurnActivities } from '../activities/turn-steps.ts';
import { BACKGROUND_TASK_QUEUE, turnWorkflowId } from '../contracts/turn-workflow.ts';
import type { TurnInput } from '../contracts/turn-workflow.ts';
import { RuleModerator } from '../moderation/input-policy.ts';
import { createWorker } from '../process/temporal.ts';
import { createTurnDispatch } from '../process/turn-dispatch.ts';
import { RedisLimiter } from '../redis/limiter.ts';
import { RedisTurnLogWriter } from '../redis/turn-log-writer.ts';
import { ensureSchedules } from './schedules.ts';
import { main, startWorkerProcess } from './worker-process.ts';

main('background-worker', async () => {
  const { config, logger, metrics, catalog, db, redis, temporal, run } =
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
  const { persistTurn } = createTurnActivities({
    db,
    catalog,
    metrics,
    logger,
    turnLog: new RedisTurnLogWriter(redis),
    limiter: new RedisLimiter(redis),
    moderator: new RuleModerator(),
  });
  const activities = {
    ...createMemoryActivities({ db, logger }),
    ...createMaintenanceActivities({
      db,
      logger,
      workflowState,
      persistTurn,
      start: dispatch.start,
    }),
  };
  await ensureSchedules(dispatch.client);
  const worker = await createWorker(temporal, config.temporal, {
    taskQueue: BACKGROUND_TASK_QUEUE,
    activities,
    hasWorkflows: true,
    maxConcurrentActivities: 10,
    graceMs: config.http.drainMs,
  });
  await run(worker);
});
