// What `valkey-cli --cluster create` does, by the same commands: the wheel has no valkey-cli.
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';

export interface ClusterMember {
  /** On 127.0.0.1. */
  readonly port: number;
  readonly busPort: number;
  readonly password: string;
}

const NUM_SLOTS = 16_384;
const LIMIT_MS = 20_000;
const POLL_MS = 20;

/**
 * Joins running, empty nodes: the first `numPrimaries` share the slots evenly, the others replicate them in turn.
 * @throws Error when they are not one cluster within 20 s
 */
export async function formCluster(
  members: readonly ClusterMember[],
  numPrimaries: number,
): Promise<void> {
  const nodes = members.map(
    ({ port, password }) =>
      new Redis({ port, password, host: '127.0.0.1', replyMapping: 'legacy' }),
  );
  const first = members[0];
  try {
    for (const [index, node] of nodes.entries()) {
      node.on('error', () => undefined);
      await node.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1);
      if (index < numPrimaries) {
        const [from, to] = [index, index + 1].map((n) =>
          Math.floor((n * NUM_SLOTS) / numPrimaries),
        );
        await node.call('CLUSTER', 'ADDSLOTSRANGE', from ?? 0, (to ?? NUM_SLOTS) - 1);
      }
      if (index > 0 && first !== undefined)
        await node.call('CLUSTER', 'MEET', '127.0.0.1', first.port, first.busPort);
    }
    await until('all nodes know each other', () => all(nodes, knows(nodes.length)));
    for (const [index, node] of nodes.entries()) {
      if (index < numPrimaries) continue;
      const id = await nodes[index % numPrimaries]?.call('CLUSTER', 'MYID');
      await node.call('CLUSTER', 'REPLICATE', String(id));
    }
    await until('the cluster is whole', () => all(nodes, isWhole));
  } finally {
    nodes.forEach((node) => node.disconnect());
  }
}

function knows(numNodes: number): (node: Redis) => Promise<boolean> {
  return async (node) => {
    const lines = String(await node.call('CLUSTER', 'NODES'))
      .trim()
      .split('\n');
    return lines.length === numNodes && lines.every((line) => !/handshake|fail|noaddr/.test(line));
  };
}

async function isWhole(node: Redis): Promise<boolean> {
  const info = String(await node.call('CLUSTER', 'INFO'));
  const isServed = info.includes('cluster_state:ok') && info.includes('cluster_slots_ok:16384');
  const replication = await node.info('replication');
  return isServed && !replication.includes('master_link_status:down');
}

async function all(
  nodes: readonly Redis[],
  look: (node: Redis) => Promise<boolean>,
): Promise<boolean> {
  return (await Promise.all(nodes.map(look))).every(Boolean);
}

async function until(what: string, look: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + LIMIT_MS;
  while (!(await look())) {
    if (Date.now() > deadline) throw new Error(`Waited ${LIMIT_MS} ms in vain until ${what}.`);
    await sleep(POLL_MS);
  }
}
