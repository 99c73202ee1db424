// Stores whose every statement says for whom it runs, so that row-level security shows it no one else's rows even when it
// forgets to ask for its own. Works over any stores; with a role that owns the tables it changes nothing.
import type { QueryConfig } from 'pg';
import type { Db, Pool, PoolClient } from './pool.ts';
import type { Stores } from './stores.ts';
import type { Sight } from './walled-client.ts';
import { configOf, withMethods } from './with-methods.ts';

/** @param hasSweeps `primaries` may see everybody's rows: in processes that do the background's work */
export function walledStores(stores: Stores, { hasSweeps }: { hasSweeps: boolean }): Stores {
  return {
    get directory() {
      return walled(stores.directory, 'directory');
    },
    get primaries() {
      return hasSweeps ? stores.primaries.map((pool) => walled(pool, 'sweep')) : stores.primaries;
    },
    primaryOf: (userId) => walled(stores.primaryOf(userId), userId),
    readerOf: async (userId, conversationId) =>
      walled(await stores.readerOf(userId, conversationId), userId),
    wrote: (userId) => stores.wrote(userId),
    end: () => stores.end(),
  };
}

/** The same pool (or what else runs statements) with this sight for each statement and transaction. */
export function walled<Asked extends Db>(db: Asked, sight: Sight): Asked {
  const ask = db.query.bind(db) as (config: QueryConfig) => Promise<unknown>;
  const query = (statement: string | QueryConfig, values: unknown[] = []): Promise<unknown> =>
    ask({ ...configOf(statement, values), sight } as QueryConfig);
  const connect = async (): Promise<PoolClient> =>
    seeingFromBegin(await (db as unknown as Pool).connect(), sight);
  return withMethods(db, { query, connect });
}

/** In a transaction only its begin says so: it holds to the end, and an aborted one takes nothing but its rollback. */
function seeingFromBegin(client: PoolClient, sight: Sight): PoolClient {
  const query = (statement: string | QueryConfig, values?: unknown[]): unknown => {
    const text = typeof statement === 'string' ? statement : statement.text;
    if (text !== 'begin') return client.query(statement as string, values);
    const begin = typeof statement === 'string' ? { text } : statement;
    return client.query({ ...begin, sight } as QueryConfig);
  };
  return withMethods(client, { query });
}
