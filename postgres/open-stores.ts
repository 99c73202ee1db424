// The stores of a process, from its configuration: one pool, or a set of nodes when replicas are named.
import type { WriteMarks } from '../contracts/write-marks.ts';
import { NodeSet } from './node-set.ts';
import { createPool, row } from './pool.ts';
import type { Db } from './pool.ts';
import { ReplicatedStore } from './replicated-store.ts';
import { singleStore } from './stores.ts';
import type { Stores } from './stores.ts';

export interface StoreOptions {
  readonly settings: {
    readonly url: string;
    /** The other nodes of the same database, whichever is the primary. */
    readonly replicaUrls: readonly string[];
    readonly poolSize: number;
    readonly maxLagMs: number;
    readonly namedStatements: boolean;
  };
  readonly marks: WriteMarks;
  /** An idle connection broke; it is replaced. */
  readonly onError: (error: Error) => void;
  /** Which kind of node has answered a read that any might. */
  readonly onRead: (node: 'primary' | 'replica') => void;
  /** See NodeSetOptions. */
  readonly onLag: (node: string, seconds: number | null) => void;
}

export function openStores({ settings, marks, onError, onRead, onLag }: StoreOptions): Stores {
  const { url, replicaUrls, poolSize, maxLagMs, namedStatements } = settings;
  const pool = { poolSize, namedStatements };
  if (replicaUrls.length === 0) {
    const single = singleStore(createPool({ ...pool, url }, onError));
    const readerOf: Stores['readerOf'] = (userId, conversationId) => {
      onRead('primary');
      return single.readerOf(userId, conversationId);
    };
    return { ...single, readerOf };
  }
  const urls = [url, ...replicaUrls];
  const set = new NodeSet({ name: 'main', urls, pool, maxLagMs, onError, onLag });
  const store = new ReplicatedStore({ set, marks, onRead });
  return {
    directory: store.directory,
    primaries: [store.pool],
    primaryOf: (userId) => store.writerOf(userId),
    // A conversation's rows are its owner's: one mark speaks of both.
    readerOf: (userId) => store.readerOf(userId),
    wrote: (userId) => store.wrote(userId),
    end: () => set.end(),
  };
}

/** Whether statements can be written there now. @throws AppError STORAGE_UNAVAILABLE */
export async function isWritable(db: Db): Promise<boolean> {
  return (await row(db, 'select 1 where not pg_is_in_recovery()')) !== null;
}
