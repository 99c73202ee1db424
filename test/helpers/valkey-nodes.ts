// The nodes of a rehearsed Valkey cluster (`npm run deploy -- valkey`), as they see each other.
import { Redis } from 'ioredis';
import { parseRedisUrl } from '../../redis/redis-url.ts';
import type { RunningDeployment } from './deployment.ts';

const NUM_NODES = 6;

export interface ClusterNode {
  readonly id: string;
  readonly port: number;
  /** Of a replica; '-' of a primary. */
  readonly primaryId: string;
  readonly isPrimary: boolean;
  readonly isWell: boolean;
  readonly slots: readonly (readonly [number, number])[];
}

/** Lines of CLUSTER NODES: id, ip:port@bus, flags, primary, ping, pong, epoch, link, slots… */
export async function clusterNodes(cluster: RunningDeployment): Promise<ClusterNode[]> {
  const text = await ask(cluster, async (node) => String(await node.call('CLUSTER', 'NODES')));
  return text
    .trim()
    .split('\n')
    .map((line) => {
      const [id = '', address = '', flags = '', primaryId = '', , , , link, ...slots] =
        line.split(' ');
      return {
        id,
        primaryId,
        port: Number(/:(\d+)@/.exec(address)?.[1]),
        isPrimary: flags.includes('master'),
        isWell: !/fail|handshake|noaddr/.test(flags) && link === 'connected',
        slots: slots.map((range) => {
          const [from = 0, to = from] = range.split('-').map(Number);
          return [from, to] as const;
        }),
      };
    });
}

/** Every node is back, three of them primaries with slots, and every replica is in step, as far as the first node knows. */
export async function isClusterWhole(cluster: RunningDeployment): Promise<boolean> {
  const nodes = await clusterNodes(cluster);
  const serving = nodes.filter(({ isPrimary, slots }) => isPrimary && slots.length > 0);
  if (nodes.length !== NUM_NODES || !nodes.every(({ isWell }) => isWell) || serving.length !== 3)
    return false;
  const state = await ask(cluster, (node) => node.info('replication'));
  return !state.includes('master_link_status:down');
}

/** The process of the node that listens on a port. @throws Error when there is none */
export function pidOfNode(cluster: RunningDeployment, port: number): number {
  const process = cluster.processes().find(({ name }) => cluster.port(name) === port);
  if (process === undefined) throw new Error(`No node listens on ${port}.`);
  return process.pid;
}

/** Asks the nodes one after the other until one answers. */
async function ask<Answer>(
  cluster: RunningDeployment,
  question: (node: Redis) => Promise<Answer>,
): Promise<Answer> {
  const target = parseRedisUrl(cluster.env['REDIS_URL'] ?? '');
  const password = target.kind === 'cluster' ? (target.password ?? '') : '';
  let failure: unknown;
  for (let index = 1; index <= NUM_NODES; index += 1) {
    const port = cluster.port(`valkey-${index}`);
    const node = new Redis({
      host: '127.0.0.1',
      port,
      password,
      lazyConnect: true,
      retryStrategy: () => null,
      maxRetriesPerRequest: 0,
      commandTimeout: 500,
      replyMapping: 'legacy',
    });
    node.on('error', () => undefined);
    try {
      await node.connect();
      return await question(node);
    } catch (error) {
      failure = error;
    } finally {
      node.disconnect();
    }
  }
  throw failure;
}
