// What the server does for a statement of ours: caught on its way to the pool, explained with the values it was given.
import type { QueryConfig } from 'pg';
import type { Pool, PoolClient } from '../../postgres/pool.ts';

export interface CaughtStatement {
  readonly text: string;
  readonly values: unknown[];
  /** Prepared under a name; else planned for its values at each run. */
  readonly isNamed: boolean;
}

export interface Explained {
  /** Relations read or probed, of `turns` and all others. */
  readonly relations: readonly string[];
  /** Relations that were read from end to end. */
  readonly scanned: readonly string[];
}

interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Actual Loops'?: number;
  readonly 'Index Name'?: string;
  readonly Plans?: readonly PlanNode[];
}

/** The statements that `work` runs on a database; their effects stay. */
export async function caught(
  db: Pool | PoolClient,
  work: (db: Pool) => Promise<unknown>,
): Promise<CaughtStatement[]> {
  const statements: CaughtStatement[] = [];
  const query = (statement: QueryConfig): unknown => {
    const { text, values = [], name } = statement;
    statements.push({ text, values, isNamed: name !== undefined });
    return (db as Pool).query(statement);
  };
  await work(
    new Proxy(db as Pool, { get: (on, key) => (key === 'query' ? query : Reflect.get(on, key)) }),
  );
  return statements;
}

/** Runs a statement again, in a transaction that is taken back. */
export async function explain(db: Pool, { text, values }: CaughtStatement): Promise<Explained> {
  const client = await db.connect();
  try {
    await client.query('begin');
    const { rows } = await client.query<{ 'QUERY PLAN': [{ Plan: PlanNode }] }>(
      `explain (analyze, format json) ${text}`,
      values,
    );
    await client.query('rollback');
    const nodes = rows.flatMap((each) => each['QUERY PLAN'].flatMap(({ Plan }) => nodesOf(Plan)));
    // Parts of a plan that were never run have asked nothing.
    const run = nodes.filter((node) => node['Actual Loops'] !== 0);
    return {
      relations: run.flatMap((node) => node['Relation Name'] ?? []),
      scanned: run.flatMap((node) =>
        node['Node Type'] === 'Seq Scan' ? (node['Relation Name'] ?? []) : [],
      ),
    };
  } finally {
    client.release();
  }
}

/** Months of `turns` among the relations, each once. */
export function monthsOf({ relations }: Explained): string[] {
  return [...new Set(relations.filter((name) => /^turns_\d/.test(name)))];
}

/** The driver remembers a name for as long as its connection lives. */
let numNames = 0;

/** Relations (tables and indexes) that a transaction with this statement alone holds locks on, at its tenth run. */
export async function locksOf(
  db: Pool,
  { text, values, isNamed }: CaughtStatement,
): Promise<number> {
  const client = await db.connect();
  try {
    const name = isNamed ? { name: `locked${(numNames += 1)}` } : {};
    for (let run = 1; run <= 9; run += 1) {
      await client.query('begin');
      await client.query({ ...name, text, values });
      await client.query('rollback');
    }
    await client.query('begin');
    await client.query({ ...name, text, values });
    const { rows } = await client.query<{ locks: number }>(
      `select count(distinct l.relation) as locks from pg_locks l join pg_class c on c.oid = l.relation
       where l.pid = pg_backend_pid() and c.relnamespace = 'public'::regnamespace`,
    );
    await client.query('rollback');
    return rows[0]?.locks ?? NaN;
  } finally {
    client.release();
  }
}

function nodesOf(node: PlanNode): PlanNode[] {
  return [node, ...(node.Plans ?? []).flatMap(nodesOf)];
}
