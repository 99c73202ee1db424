// The turn path on real Temporal, PostgreSQL and Valkey with a fake model: one database, one turn worker, pool workers
// on demand. Queues are the real ones, so test files that use it must not run at the same time.
import { randomUUID } from 'node:crypto';
import type { WorkflowHandle } from '@temporalio/client';
import type { NativeConnection, Worker } from '@temporalio/worker';
import { createGenerateActivities } from '../../activities/generate.ts';
import { createSummariseActivities } from '../../activities/summarise.ts';
import { createTurnActivities } from '../../activities/turn-steps.ts';
import { loadCatalog, poolTaskQueue } from '../../contracts/catalog.ts';
import type { Catalog } from '../../contracts/catalog.ts';
import type { ServedModel } from '../../contracts/engine.ts';
import { newConversationId, newTurnId } from '../../contracts/ids.ts';
import type { ConversationId, TurnId, UserId } from '../../contracts/ids.ts';
import { openData } from '../../contracts/open-entry.ts';
import type { TaskLeases } from '../../contracts/process-leases.ts';
import type { NumberedEntry } from '../../contracts/turn-events.ts';
import type { TurnParams } from '../../contracts/turn-request.ts';
import {
  BACKGROUND_TASK_QUEUE,
  TURN_TASK_QUEUE,
  turnWorkflowId,
} from '../../contracts/turn-workflow.ts';
import type { PersistResult, TurnInput } from '../../contracts/turn-workflow.ts';
import { RuleModerator } from '../../moderation/input-policy.ts';
import { slotOf } from '../../postgres/shard-slots.ts';
import type { Stores } from '../../postgres/stores.ts';
import { walledStores } from '../../postgres/walled-stores.ts';
import { rows } from '../../postgres/pool.ts';
import type { Pool } from '../../postgres/pool.ts';
import { acceptTurn } from '../../postgres/turn-requests.ts';
import { createLogger } from '../../process/logger.ts';
import { createMetrics } from '../../process/metrics.ts';
import { projectPath } from '../../process/paths.ts';
import { connectTemporal, createWorker, installTemporalRuntime } from '../../process/temporal.ts';
import { TurnOpenings } from '../../gateway/turn-openings.ts';
import { createTurnDispatch } from '../../process/turn-dispatch.ts';
import { ChannelHub } from '../../redis/channel-hub.ts';
import { connectRedis, connectSubscriber } from '../../redis/connection.ts';
import type { Redis } from '../../redis/connection.ts';
import { RedisConversationCache } from '../../redis/conversation-cache.ts';
import { RedisLimiter } from '../../redis/limiter.ts';
import { RedisTurnLogReader } from '../../redis/turn-log-reader.ts';
import { RedisTurnReaders } from '../../redis/turn-readers.ts';
import { RedisTurnLogWriter } from '../../redis/turn-log-writer.ts';
import { newOwner, userIdIn } from './owners.ts';
import { services } from './services.ts';
import { createTestShards, openTestStores } from './shards.ts';
import { plainParams } from './turn-params.ts';

export interface TurnHarness {
  /** The owner's, where the harness's own user is written: it sees every row. */
  readonly db: Pool;
  /** The processes': what a statement does not say its caller may see, it does not. */
  readonly appDb: Pool;
  /** Of one database, or of as many shards as were asked for; behind the wall, as processes have them. */
  readonly stores: Stores;
  /** The databases by shard; one as a rule. */
  readonly databaseUrls: readonly string[];
  /** Moves whatever slot the user is in. */
  moveUser(userId: UserId, shard: number): Promise<void>;
  /** Of whoever called newConversation(). */
  readonly userId: UserId;
  readonly databaseUrl: string;
  readonly redis: Redis;
  readonly hub: ChannelHub;
  readonly turnLog: RedisTurnLogWriter;
  readonly readers: RedisTurnReaders;
  readonly cache: RedisConversationCache;
  readonly reader: RedisTurnLogReader;
  readonly temporal: NativeConnection;
  /** Gateways of the same process share it. */
  readonly openings: TurnOpenings;
  readonly dispatch: ReturnType<typeof createTurnDispatch>;
  newConversation(): Promise<ConversationId>;
  /** Writes the request and the log's open entry, as the gateway does before it starts the workflow. */
  accept(
    conversationId: ConversationId,
    content: string,
    params?: Partial<TurnParams>,
    /** The reply that it follows; by default none. */
    parentTurnId?: TurnId,
  ): Promise<TurnInput>;
  start(turn: TurnInput): Promise<WorkflowHandle<(turn: TurnInput) => Promise<PersistResult>>>;
  /** Runs a pool worker with `model` until the returned function is called. */
  startPool(pool: string, model: ServedModel, leases?: TaskLeases): Promise<() => Promise<void>>;
  /** Runs workflows of the background queue with `activities` until the returned function is called. */
  startBackground(activities: object): Promise<() => Promise<void>>;
  /** Resolves with the first entry, from 1 on, that fulfils `isIt`. */
  entry(turnId: TurnId, isIt: (entry: NumberedEntry) => boolean): Promise<NumberedEntry>;
  entries(turnId: TurnId): Promise<readonly NumberedEntry[]>;
  close(): Promise<void>;
}

const PARAMS = plainParams(1000);

/** Nothing is handed back: a lost worker is found by its heartbeats. */
const NO_LEASES: TaskLeases = { hold: () => () => undefined };

export interface HarnessOptions {
  /** Databases; the harness's own user is on the last of them. */
  readonly numShards?: number;
}

/** @param change edits the shipped catalogue */
export async function startTurnHarness(
  change: (catalog: Catalog) => Catalog = (catalog) => catalog,
  { numShards = 1 }: HarnessOptions = {},
): Promise<TurnHarness> {
  const { redisUrl, temporalAddress, workflowBundlePath } = services();
  const shards = await createTestShards(numShards);
  const [directoryUrl = ''] = shards.urls;
  const logger = createLogger('test', { logLevel: 'fatal', processName: '' });
  const opened = openTestStores(shards.appUrls, 10);
  const stores = walledStores(opened, { hasSweeps: true });
  const owners = openTestStores(shards.urls, 5);
  const redis = connectRedis({
    url: redisUrl,
    scriptsFolder: projectPath('redis', 'lua'),
    onError: () => undefined,
  });
  const hub = new ChannelHub(connectSubscriber(redis, () => undefined));
  const turnLog = new RedisTurnLogWriter(redis);
  const reader = new RedisTurnLogReader(redis, hub);
  const readers = new RedisTurnReaders(redis);
  const cache = new RedisConversationCache(redis, { bytes: 64 * 1024 * 1024, turns: 64 });
  const catalog = change(loadCatalog(projectPath('config', 'catalog.yaml')));
  const settings = {
    address: temporalAddress,
    namespace: 'default',
    workflowBundle: workflowBundlePath,
    stackTraces: false,
  };
  installTemporalRuntime(logger);
  const temporal = await connectTemporal(settings);
  const openings = new TurnOpenings();
  const deps = {
    openings,
    stores,
    catalog,
    logger,
    metrics: createMetrics(),
    turnLog,
    cache,
    limiter: new RedisLimiter(redis),
    moderator: new RuleModerator(),
  };

  const run = async (
    taskQueue: string,
    activities: object,
    hasWorkflows: boolean,
  ): Promise<() => Promise<void>> => {
    const worker: Worker = await createWorker(temporal, settings, {
      taskQueue,
      activities,
      hasWorkflows,
      maxConcurrentActivities: 20,
      identity: randomUUID(),
      graceMs: 0,
    });
    const running = worker.run();
    return async () => {
      worker.shutdown();
      await running;
    };
  };
  const stopTurns = await run(TURN_TASK_QUEUE, createTurnActivities(deps), true);
  const dispatch = createTurnDispatch({ connection: temporal, settings, catalog, isEager: true });
  const { userId, orgId } = await newOwner(owners.directory, userIdIn(numShards - 1));
  const db = owners.primaryOf(userId);
  const appDb = opened.primaryOf(userId);

  return {
    db,
    appDb,
    stores,
    databaseUrl: directoryUrl,
    databaseUrls: shards.urls,
    moveUser: (moved, shard) => shards.move(slotOf(moved), shard),
    userId,
    redis,
    hub,
    turnLog,
    reader,
    readers,
    cache,
    temporal,
    openings,
    dispatch,
    newConversation: async () => {
      const id = newConversationId();
      await rows(
        db,
        `insert into conversations (conversation_id, user_id, org_id, model, region) values ($1, $2, $3, 'colloquy-mini', 'local')`,
        [id, userId, orgId],
      );
      return id;
    },
    accept: async (conversationId, content, params = {}, parentTurnId) => {
      const [userTurnId, turnId] = [newTurnId(), newTurnId()];
      const turn: TurnInput = {
        turnId,
        userTurnId,
        conversationId,
        userId,
        tier: 'paid',
        model: 'colloquy-mini',
        pool: 'mini',
        reasoning: false,
        ...(params.n === undefined ? {} : { numSamples: params.n }),
      };
      const accepted = {
        ...turn,
        parentTurnId: parentTurnId ?? null,
        replacesTurnId: null,
        isRegeneration: false,
        content,
        params: { ...PARAMS, ...params },
        idempotencyKey: null,
        bodyHash: null,
      };
      await acceptTurn(db, accepted, false);
      const open = openData({ ...turn, servedModel: 'fake', numSamples: params.n ?? 1 });
      await turnLog.create(open, { userId, conversationId });
      return turn;
    },
    start: async (turn) => {
      await dispatch.start(turn);
      return dispatch.client.workflow.getHandle(turnWorkflowId(turn.conversationId, turn.turnId));
    },
    startPool: (pool, model, leases = NO_LEASES) =>
      run(
        poolTaskQueue(pool),
        {
          ...createGenerateActivities({
            ...deps,
            control: reader,
            readers,
            model,
            leases,
            flush: { flushMs: 1, flushTokens: 64, laterFlushTokens: 64 },
          }),
          ...createSummariseActivities({ ...deps, model }),
        },
        false,
      ),
    startBackground: (activities) => run(BACKGROUND_TASK_QUEUE, activities, true),
    entries: async (turnId) => {
      const entries = await reader.read(turnId, 0);
      return entries === 'missing' ? [] : entries;
    },
    entry: async (turnId, isIt) => {
      let found: (entry: NumberedEntry) => void = () => undefined;
      const wanted = new Promise<NumberedEntry>((resolve) => (found = resolve));
      const look = (entry: NumberedEntry): void => {
        if (isIt(entry)) found(entry);
      };
      const subscription = await reader.subscribe(turnId, look);
      const already = await reader.read(turnId, 0);
      if (already !== 'missing') already.forEach(look);
      const entry = await wanted;
      await subscription.close();
      return entry;
    },
    close: async () => {
      await stopTurns();
      await temporal.close();
      hub.close();
      redis.disconnect();
      await stores.end();
      await owners.end();
      await shards.drop();
    },
  };
}
