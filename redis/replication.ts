// What was written is on a replica before it counts as written: a primary that dies takes its newest writes with it, and
// of a turn's last entries and its `end` nobody would be left who remembers them (docs/deploy/valkey-cluster.md).
import { Cluster } from 'ioredis';
import { hashSlot } from './hash-slot.ts';
import type { Redis } from './connection.ts';

/** A replica in the same region answers in a millisecond. One that is this late is taken for gone: turns go on without. */
const LIMIT_MS = 100;
/** … and is not waited for again for so long: WAIT holds up everything behind it on its connection. */
const PAUSE_MS = 2000;

/** Client → when to wait again. */
const pausedUntil = new WeakMap<Redis, number>();

/**
 * Resolves when a replica has what this client has written to `key`'s shard, or when there is no replica that answers.
 * On a single node, at once. Never throws: what was written is written.
 */
export async function replicated(client: Redis, key: string): Promise<void> {
  if (!(client instanceof Cluster) || Date.now() < (pausedUntil.get(client) ?? 0)) return;
  const [primary, ...replicas] = client['slots'][hashSlot(key)] ?? [];
  if (replicas.length === 0) return;
  // WAIT speaks of its own connection's writes, and a cluster's client has one connection a node.
  const node = client
    .nodes('master')
    .find(({ options }) => `${options.host}:${options.port}` === primary);
  const numReplicas = await node?.wait(1, LIMIT_MS).catch(() => 0);
  if (numReplicas === 0) pausedUntil.set(client, Date.now() + PAUSE_MS);
}
