// A namespace of a new Temporal cluster, and waiting until every server of it knows the namespace: each reads the list
// from the database now and then.
import { setTimeout as sleep } from 'node:timers/promises';
import { isTemporalReady, prepareNamespace } from '../temporal-namespace.ts';

const RETENTION_SECONDS = 3 * 24 * 3600;
const ALREADY_EXISTS = 6; // grpc.status
const LIMIT_MS = 60_000;
const POLL_MS = 200;

/**
 * @param frontends host:port of each server's frontend
 * @throws Error when they do not all know it within a minute
 */
export async function createNamespace(
  frontends: readonly string[],
  namespace: string,
): Promise<void> {
  const [first = ''] = frontends;
  await retried(() => register(first, namespace));
  await retried(() => prepareNamespace(first, namespace));
  for (const frontend of frontends) {
    await retried(async () => {
      if (!(await isTemporalReady(frontend, namespace)))
        throw new Error(`${frontend} does not know the namespace ${namespace} yet`);
    });
    await retried(() => asksMatching(frontend, namespace));
  }
}

async function register(address: string, namespace: string): Promise<void> {
  const { Connection } = await import('@temporalio/client');
  const connection = await Connection.connect({ address });
  try {
    await connection.workflowService.registerNamespace({
      namespace,
      workflowExecutionRetentionPeriod: { seconds: RETENTION_SECONDS as never },
    });
  } catch (error) {
    if ((error as { code?: unknown }).code !== ALREADY_EXISTS) throw error;
  } finally {
    await connection.close();
  }
}

/** A question that goes through the frontend to matching, wherever that queue's owner is. */
async function asksMatching(address: string, namespace: string): Promise<void> {
  const { Connection } = await import('@temporalio/client');
  const connection = await Connection.connect({ address });
  try {
    await connection.workflowService.describeTaskQueue({ namespace, taskQueue: { name: 'probe' } });
  } finally {
    await connection.close();
  }
}

async function retried(work: () => Promise<void>): Promise<void> {
  for (const deadline = Date.now() + LIMIT_MS; ;) {
    try {
      return await work();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(POLL_MS);
    }
  }
}
