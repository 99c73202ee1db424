// Runs the bare path against the services of a running system: eager start from here, remote step in a child process.
import { fork } from 'node:child_process';
import { Client } from '@temporalio/client';
import { bundleWorkflowCode, Worker } from '@temporalio/worker';
import { newTurnId } from '../../contracts/ids.ts';
import type { ConversationId, UserId } from '../../contracts/ids.ts';
import { connectTemporal } from '../../process/temporal.ts';
import { projectPath } from '../../process/paths.ts';
import { ChannelHub } from '../../redis/channel-hub.ts';
import { connectRedis, connectSubscriber } from '../../redis/connection.ts';
import { RedisTurnLogReader } from '../../redis/turn-log-reader.ts';
import { RedisTurnLogWriter } from '../../redis/turn-log-writer.ts';
import { prepare } from './bare-activities.ts';

export interface BarePath {
  /** Runs one bare turn; resolves with ms from start to its token entry, and to its workflow's end. */
  run(): Promise<{ firstEntryMs: number; completeMs: number }>;
  close(): Promise<void>;
}

export async function startBarePath(temporalAddress: string, redisUrl: string): Promise<BarePath> {
  const connection = await connectTemporal({
    address: temporalAddress,
    namespace: 'default',
    workflowBundle: '',
    stackTraces: false,
  });
  const workflowBundle = await bundleWorkflowCode({
    workflowsPath: projectPath('bench', 'turn-latency', 'bare-workflow.ts'),
    logger: { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} },
  });
  const worker = await Worker.create({
    connection,
    taskQueue: 'bench-turns',
    workflowBundle,
    activities: { prepare },
    maxCachedWorkflows: 200,
  });
  const running = worker.run();
  const remote = fork(projectPath('dist', 'bench', 'turn-latency', 'bare-remote.js'), [
    temporalAddress,
    redisUrl,
  ]);
  await new Promise<void>((resolve) => remote.once('message', () => resolve()));
  const redis = connectRedis({
    url: redisUrl,
    scriptsFolder: projectPath('redis', 'lua'),
    onError: () => undefined,
  });
  const hub = new ChannelHub(connectSubscriber(redis, () => undefined));
  const [writer, reader] = [new RedisTurnLogWriter(redis), new RedisTurnLogReader(redis, hub)];
  const client = new Client({ connection });

  const run: BarePath['run'] = async () => {
    const turnId = newTurnId();
    let seen: () => void = () => undefined;
    const firstEntry = new Promise<number>((resolve) => (seen = () => resolve(performance.now())));
    const started = performance.now();
    await writer.create(
      {
        turn_id: turnId,
        user_turn_id: turnId,
        conversation_id: turnId,
        model: 'm',
        served_model: 's',
        pool: 'p',
      },
      { userId: 'bench' as UserId, conversationId: 'bench' as ConversationId },
    );
    const subscription = await reader.subscribe(turnId, ({ n }) => n === 2 && seen());
    const handle = await client.workflow.start('bareTurn', {
      taskQueue: 'bench-turns',
      workflowId: `bench/${turnId}`,
      args: [turnId],
      requestEagerStart: true,
    });
    const firstEntryMs = (await firstEntry) - started;
    await handle.result();
    const completeMs = performance.now() - started;
    await subscription.close();
    await writer.remove(turnId);
    return { firstEntryMs, completeMs };
  };

  const close = async (): Promise<void> => {
    remote.disconnect();
    worker.shutdown();
    await running;
    hub.close();
    redis.disconnect();
    await connection.close();
  };
  return { run, close };
}
