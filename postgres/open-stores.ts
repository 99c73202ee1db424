// The stores of a process, from its configuration: one database as a rule, each with replicas when they are named; or
// several shards, of which the first may have replicas.
import type { WriteMarks } from '../contracts/write-marks.ts';
import { NodeSet } from './node-set.ts';
import { createPool, row } from './pool.ts';
import type { Db } from './pool.ts';
import { ReplicatedStore } from './replicated-store.ts';
import { shardedStores } from './sharded-stores.ts';
import { singleStore } from './stores.ts';
import type { Stores } from './stores.ts';

export interface StoreOptions {
  readonly settings: {
    readonly url: string;
    /** The other nodes of the same database, whichever is the primary. */
    readonly replicaUrls: readonly string[];
    /** Shards 1, 2, …; `url` is shard 0. */
    readonly shardUrls: readonly string[];
    /** Connections to each node of each database. */
    readonly poolSize: number;
    readonly maxLagMs: number;
    readonly namedStatements: boolean;
  };
  readonly marks: WriteMarks;
  /** An idle connection broke; it is replaced. Or a shard map could not be read; it is read again. */
  readonly onError: (error: unknown) => void;
  /** Which kind of node has answered a read that any might. */
  readonly onRead: (node: 'primary' | 'replica') => void;
  /** See NodeSetOptions. */
  readonly onLag: (node: string, seconds: number | null) => void;
}

export function openStores(options: StoreOptions): Stores {
  const { url, replicaUrls, shardUrls } = options.settings;
  const first = replicaUrls.length === 0 ? openSingle(options, url) : openReplicated(options);
  if (shardUrls.length === 0) return first;
  const others = shardUrls.map((each) => openSingle(options, each));
  return shardedStores([first, ...others], options.onError);
}

function openSingle({ settings, onError, onRead }: StoreOptions, url: string): Stores {
  const { poolSize, namedStatements } = settings;
  const single = singleStore(createPool({ url, poolSize, namedStatements }, onError));
  const readerOf: Stores['readerOf'] = (userId, conversationId) => {
    onRead('primary');
    return single.readerOf(userId, conversationId);
  };
  return { ...single, readerOf };
}

function openReplicated({ settings, marks, onError, onRead, onLag }: StoreOptions): Stores {
  const { url, replicaUrls, poolSize, maxLagMs, namedStatements } = settings;
  const pool = { poolSize, namedStatements };
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
