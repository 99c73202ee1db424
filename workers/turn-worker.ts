// Process entry: runs the same workflows and short steps as the gateways' embedded workers, for when a gateway dies.
import { createTurnActivities } from '../activities/turn-steps.ts';
import { TURN_TASK_QUEUE } from '../contracts/turn-workflow.ts';
import { RuleModerator } from '../moderation/input-policy.ts';
import { main } from '../process/start.ts';
import { createWorker } from '../process/temporal.ts';
import { RedisConversationCache } from '../redis/conversation-cache.ts';
import { RedisLimiter } from '../redis/limiter.ts';
import { RedisTurnLogWriter } from '../redis/turn-log-writer.ts';
import { startWorkerProcess } from './worker-process.ts';

main('turn-worker', async () => {
  const { config, identity, logger, metrics, catalog, stores, redis, temporal, run } =
    await startWorkerProcess('turn-worker');
  const activities = createTurnActivities({
    stores,
    catalog,
    metrics,
    logger,
    turnLog: new RedisTurnLogWriter(redis),
    cache: new RedisConversationCache(redis, config.cache),
    limiter: new RedisLimiter(redis),
    moderator: new RuleModerator(),
  });
  const worker = await createWorker(temporal, config.temporal, {
    identity,
    taskQueue: TURN_TASK_QUEUE,
    activities,
    hasWorkflows: true,
    maxConcurrentActivities: 50,
    graceMs: config.http.drainMs,
  });
  await run(worker);
});
