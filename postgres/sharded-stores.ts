// Stores over several databases: an owner's statements go to the shard that serves their slot, which says so itself with
// each of them. A refusal means that the slot has moved: the map is read again and the statement asked again, within a
// bound. Each database may be stores of its own, with replicas; shard 0 is the directory.
import { setTimeout as pause } from 'node:timers/promises';
import type { QueryConfig } from 'pg';
import type { ConversationId, UserId } from '../contracts/ids.ts';
import type { Db, Pool, PoolClient } from './pool.ts';
import { guarded, isElsewhere, readWhileServed } from './shard-guard.ts';
import { ShardMap } from './shard-map.ts';
import { slotOf } from './shard-slots.ts';
import type { Stores } from './stores.ts';
import { configOf, withMethods } from './with-methods.ts';

/** How long a statement waits for its slot to be served again; a move takes milliseconds. */
const PATIENCE_MS = 1000;
const PAUSE_MS = 10;

type Statement = string | QueryConfig;

/**
 * @param databases by shard; each one's `primaryOf` and `readerOf` say where it is written and read
 * @param onError hears of map readings that failed
 */
export function shardedStores(
  databases: readonly Stores[],
  onError: (error: unknown) => void,
): Stores {
  const [first] = databases;
  if (first === undefined) throw new Error('sharded stores need a database');
  const map = new ShardMap({
    directory: () => first.directory,
    primaryOf: (shard) => databases[shard]?.primaries[0],
    onError,
  });

  /** Runs `ask` on the shard of the slot, again where it has gone to when that one refuses. */
  const onShard = async <Result>(
    slot: number,
    ask: (database: Stores) => Promise<Result>,
  ): Promise<Result> => {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const shard = await map.shardOf(slot);
      const database = databases[shard];
      if (database === undefined)
        throw new Error(`shard ${shard} is in the map and not configured`);
      try {
        return await ask(database);
      } catch (error) {
        if (!isElsewhere(error) || performance.now() > deadline) throw error;
        // Its failure is that of the next try.
        await map.refresh().catch(onError);
        if ((await map.shardOf(slot)) === shard) await pause(PAUSE_MS);
      }
    }
  };

  const primaryOf = (userId: UserId): Pool => {
    const slot = slotOf(userId);
    const query = (statement: Statement, values: unknown[] = []): Promise<unknown> => {
      const asked = guarded(configOf(statement, values), slot);
      return onShard(slot, (database) => database.primaryOf(userId).query(asked));
    };
    const take = (): Promise<PoolClient> =>
      onShard(slot, (database) => database.primaryOf(userId).connect());
    const begin = (asked: QueryConfig): Promise<PoolClient> =>
      onShard(slot, (database) => beginOn(database.primaryOf(userId), slot, asked));
    const connect = async (): Promise<PoolClient> => boundClient(await take(), slot, begin);
    return withMethods(first.directory, { query, connect });
  };

  const readerOf = async (userId: UserId, conversationId: ConversationId | null): Promise<Db> => {
    const slot = slotOf(userId);
    const primary = primaryOf(userId);
    if (await map.hasMovedLately(slot)) return primary;
    const database = databases[await map.shardOf(slot)] ?? first;
    const reader = await database.readerOf(userId, conversationId);
    const written = database.primaryOf(userId);
    if (reader === written) return primary;
    const query = async (statement: Statement, values: unknown[] = []): Promise<unknown> => {
      const asked = configOf(statement, values);
      const read = (): Promise<unknown> => reader.query(asked);
      return (
        (await readWhileServed(read, written, slot)) ?? { result: await primary.query(asked) }
      ).result;
    };
    return withMethods(primary, { query });
  };

  return {
    directory: first.directory,
    get primaries() {
      return databases.flatMap((each) => each.primaries);
    },
    primaryOf,
    readerOf,
    wrote: async (userId) => databases[await map.shardOf(slotOf(userId))]?.wrote(userId),
    end: async () => {
      map.stop();
      await Promise.all(databases.map((each) => each.end()));
    },
  };
}

/** A client in a transaction that holds the slot: it cannot leave before the transaction has ended. */
async function beginOn(pool: Pool, slot: number, begin: QueryConfig): Promise<PoolClient> {
  const client = await pool.connect();
  try {
    await hold(client, slot, begin);
    return client;
  } catch (error) {
    client.release(!isElsewhere(error));
    throw error;
  }
}

/** Begins a transaction that holds the slot; leaves none when it is refused. @param begin as it was asked, with whatever it says of its caller */
async function hold(client: PoolClient, slot: number, begin: QueryConfig): Promise<void> {
  await client.query(begin);
  try {
    await client.query({ name: 'hold_slot', text: 'select hold_slot($1)', values: [slot] });
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
}

/** A client whose `begin` may lead to another shard than the one it was taken from, by `beginElsewhere`. */
function boundClient(
  taken: PoolClient,
  slot: number,
  beginElsewhere: (begin: QueryConfig) => Promise<PoolClient>,
): PoolClient {
  /** Null when a refused one was given back and there is no other. */
  let client: PoolClient | null = taken;
  let isInTransaction = false;
  const begin = async (asked: QueryConfig): Promise<void> => {
    try {
      if (client !== null) await hold(client, slot, asked);
    } catch (error) {
      if (!isElsewhere(error)) throw error;
      client?.release();
      client = null;
    }
    client ??= await beginElsewhere(asked);
    isInTransaction = true;
  };
  const query = async (statement: Statement, values: unknown[] = []): Promise<unknown> => {
    const asked = configOf(statement, values);
    const verb = asked.text.trim().toLowerCase();
    if (verb === 'begin') {
      await begin(asked);
      return { rows: [], rowCount: null };
    }
    if (verb === 'commit' || verb === 'rollback') isInTransaction = false;
    return client?.query(isInTransaction ? asked : guarded(asked, slot)) ?? { rows: [] };
  };
  return withMethods(taken, {
    query,
    release: (error?: Error | boolean) => client?.release(error),
  });
}
