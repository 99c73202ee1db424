// The connection pool and the one way statements run: parameters only, failures translated once.
import { Pool, types } from 'pg';
import type { ClientBase, PoolClient, QueryConfig, QueryResultRow } from 'pg';
import pgvector from 'pgvector/pg';
import { AppError } from '../contracts/errors.ts';
import { SET_SIGHT, UnnamedClient, WalledClient } from './walled-client.ts';
import { configOf, withMethods } from './with-methods.ts';

export type { Pool, PoolClient };
/** Anything a statement can run on: the pool, or a client inside a transaction. */
export type Db = Pick<Pool, 'query'> | Pick<PoolClient, 'query'>;

// bigint counts fit a double here: they count rows and tokens, not ids.
types.setTypeParser(types.builtins.INT8, Number);
types.setTypeParser(types.builtins.NUMERIC, Number);

export interface PoolSettings {
  readonly url: string;
  readonly poolSize: number;
  /** False behind a PgBouncer that cannot carry named statements over its transactions; default true. */
  readonly namedStatements?: boolean;
}

/** @param onError hears of idle connections that broke (a restarted server); the pool replaces them by itself */
export function createPool(settings: PoolSettings, onError: (error: Error) => void): Pool {
  const pool = new Pool({
    connectionString: settings.url,
    max: settings.poolSize,
    // A turn must not hang on a store that is gone: a start is refused in under 2 s, an activity retries.
    connectionTimeoutMillis: 1500,
    statement_timeout: 10_000,
    query_timeout: 12_000,
    idle_in_transaction_session_timeout: 15_000,
    idleTimeoutMillis: 60_000,
    keepAlive: true,
    application_name: 'colloquy',
    Client: settings.namedStatements === false ? UnnamedClient : WalledClient,
    // The pool waits for the promise, though its types do not say so.
    onConnect: (client) => prepareConnection(client, settings) as unknown as void,
  });
  pool.on('error', onError);
  // One that breaks between two statements of a transaction: the next statement fails; nobody listening would end the process.
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}

async function prepareConnection(client: ClientBase, settings: PoolSettings): Promise<void> {
  // Embeddings come back as number arrays.
  await pgvector.registerTypes(client).catch((error: unknown) => {
    // An empty database has no such type: whoever asks it for its schema is told so (migrate.ts), not that it is away.
    if (!String(error).includes('vector type not found')) throw error;
  });
  if (settings.namedStatements !== false)
    await client.query({ ...SET_SIGHT, values: [...SET_SIGHT.values] });
}

/**
 * The same pool for callers who would rather be refused than wait: a statement without an answer for `answerMs` has failed.
 * @param onEnd hears of the end of each statement, and whether the server answered, be it with an error
 */
export function impatient(
  pool: Pool,
  answerMs: number,
  onEnd: (isAnswered: boolean) => void = () => undefined,
): Pool {
  const query = async (
    statement: string | QueryConfig,
    values: unknown[] = [],
  ): Promise<unknown> => {
    const asked = configOf(statement, values);
    try {
      const result = await pool.query({ ...asked, query_timeout: answerMs } as QueryConfig);
      onEnd(true);
      return result;
    } catch (error) {
      onEnd(isSqlState((error as { code?: unknown }).code));
      throw error;
    }
  };
  return withMethods(pool, { query });
}

/**
 * Runs one statement and returns its rows.
 * @throws AppError STORAGE_UNAVAILABLE when the server is gone or refuses; INTERNAL when the statement itself is wrong.
 */
export async function rows<Row extends QueryResultRow>(
  db: Db,
  text: string,
  values: readonly unknown[] = [],
): Promise<Row[]> {
  return ask(db, { name: nameOf(text), text, values: [...values] });
}

/**
 * As rows(), but planned anew for its values: of a partitioned table the plan then has only the months that the values
 * leave. A prepared statement's general plan, which it may get from its sixth run on, locks all of them at every run.
 */
export async function plannedRows<Row extends QueryResultRow>(
  db: Db,
  text: string,
  values: readonly unknown[] = [],
): Promise<Row[]> {
  return ask(db, { text, values: [...values] });
}

async function ask<Row extends QueryResultRow>(db: Db, statement: QueryConfig): Promise<Row[]> {
  try {
    return (await db.query<Row>(statement)).rows;
  } catch (error) {
    throw translate(error);
  }
}

// Named, a statement is parsed and planned once per connection: a quarter of the server's time for a turn. Texts are
// constants, so there are a few dozen names.
const names = new Map<string, string>();

function nameOf(text: string): string {
  const name = names.get(text) ?? `s${names.size}`;
  names.set(text, name);
  return name;
}

/** The first row, or null. */
export async function row<Row extends QueryResultRow>(
  db: Db,
  text: string,
  values: readonly unknown[] = [],
): Promise<Row | null> {
  return (await rows<Row>(db, text, values))[0] ?? null;
}

/** Runs `work` in one transaction; any throw rolls back. */
export async function transaction<Result>(
  pool: Pool,
  work: (client: PoolClient) => Promise<Result>,
): Promise<Result> {
  const client = await pool.connect().catch((error: unknown) => {
    throw translate(error);
  });
  let broken: Error | undefined;
  try {
    await rows(client, 'begin');
    const result = await work(client);
    await rows(client, 'commit');
    return result;
  } catch (error) {
    await client.query('rollback').catch((failure: Error) => {
      broken = failure;
    });
    throw error;
  } finally {
    client.release(broken);
  }
}

// SQLSTATE classes in which the statement is at fault, not the server: data (22), constraint (23), syntax or rights (42).
const OWN_FAULT = /^(22|23|42)/;

/** Whether the statement is to blame, so that it fails wherever it is asked. */
export function isOwnFault(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return isSqlState(code) && OWN_FAULT.test(code);
}

function translate(error: unknown): AppError {
  return new AppError(isOwnFault(error) ? 'INTERNAL' : 'STORAGE_UNAVAILABLE', { cause: error });
}

function isSqlState(code: unknown): code is string {
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code);
}
