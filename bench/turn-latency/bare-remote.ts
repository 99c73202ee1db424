// Child process of the benchmark: the bare path's remote activity, in a process of its own as inference workers are.
import { connectTemporal, createWorker } from '../../process/temporal.ts';
import { projectPath } from '../../process/paths.ts';
import { connectRedis } from '../../redis/connection.ts';
import { RedisTurnLogWriter } from '../../redis/turn-log-writer.ts';
import { appendOne } from './bare-activities.ts';

async function main(): Promise<void> {
  const [temporalAddress = '', redisUrl = ''] = process.argv.slice(2);
  const settings = {
    address: temporalAddress,
    namespace: 'default',
    workflowBundle: '',
    stackTraces: false,
  };
  const redis = connectRedis({
    url: redisUrl,
    scriptsFolder: projectPath('redis', 'lua'),
    onError: () => undefined,
  });
  const activities = { appendOne: appendOne(new RedisTurnLogWriter(redis)) };
  const worker = await createWorker(await connectTemporal(settings), settings, {
    identity: `bare-${process.pid}`,
    taskQueue: 'bench-gen',
    activities,
    hasWorkflows: false,
    maxConcurrentActivities: 64,
    graceMs: 0,
  });
  process.once('disconnect', () => worker.shutdown());
  process.send?.('ready');
  await worker.run();
  process.exit(0);
}

void main();
