// A pool that is always the present primary's: callers keep it over promotions. What it writes of an owner's rows is remembered
// before the caller hears of it.
import type { QueryConfig } from 'pg';
import type { NodeSet } from './node-set.ts';
import type { Pool, PoolClient } from './pool.ts';
import { withMethods } from './with-methods.ts';

/** Runs after the commit of a statement or transaction that changed what others may read; a throw is the caller's. */
type AfterWrite = () => Promise<void>;

const nothing: AfterWrite = () => Promise.resolve();

/** @param afterWrite see AfterWrite; without it nothing is remembered */
export function followingPool(set: NodeSet, afterWrite: AfterWrite = nothing): Pool {
  const query = async (statement: string | QueryConfig, values?: unknown[]): Promise<unknown> => {
    const node = set.primary;
    let result: unknown;
    try {
      result = await node.pool.query(statement as QueryConfig, values);
    } catch (error) {
      set.suspect(node);
      throw error;
    }
    if (writesRows(textOf(statement))) await afterWrite();
    return result;
  };
  const connect = async (): Promise<PoolClient> => {
    const node = set.primary;
    try {
      return rememberingClient(await node.pool.connect(), afterWrite);
    } catch (error) {
      set.suspect(node);
      throw error;
    }
  };
  return new Proxy({} as Pool, {
    get: (_, name) => {
      if (name === 'query') return query;
      if (name === 'connect') return connect;
      const { pool } = set.primary;
      const value: unknown = Reflect.get(pool, name);
      return typeof value === 'function' ? (value.bind(pool) as unknown) : value;
    },
  });
}

/** A transaction's writes are remembered behind its commit. */
function rememberingClient(client: PoolClient, afterWrite: AfterWrite): PoolClient {
  let hasWritten = false;
  const query = async (statement: string | QueryConfig, values?: unknown[]): Promise<unknown> => {
    const text = textOf(statement);
    const result: unknown = await client.query(statement as QueryConfig, values);
    if (writesRows(text)) hasWritten = true;
    if (text === 'rollback') hasWritten = false;
    if (text === 'commit' && hasWritten) {
      hasWritten = false;
      await afterWrite();
    }
    return result;
  };
  return withMethods(client, { query });
}

const textOf = (statement: string | QueryConfig): string =>
  typeof statement === 'string' ? statement : statement.text;

/** Rows that no read on a replica shows: a turn that is only accepted is told by the primary. */
const UNSHOWN = new Set(['turn_requests']);

// Texts are constants: each is judged once.
const judged = new Map<string, boolean>();

/** Whether a statement changes rows that a read on a replica may show. A lock (`for update of c`) is no change. */
export function writesRows(text: string): boolean {
  const known = judged.get(text);
  if (known !== undefined) return known;
  const changed = [
    ...text.matchAll(/\b(?:insert into|delete from|merge into|(?<!(?:for|key) )update)\s+(\w+)/gi),
  ].map(([, table]) => table?.toLowerCase() ?? '');
  const writes = changed.some((table) => table !== 'set' && !UNSHOWN.has(table));
  judged.set(text, writes);
  return writes;
}
