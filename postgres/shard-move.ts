// Moves a slot to another shard while it is written. Rows are copied, then what changed meanwhile, again and again; the rest
// under a lock that the source's writers wait for, some milliseconds long. The source giving the slot away is the one step
// that decides: before it a mover that dies has changed nothing (its lock goes with its session), after it anyone finishes.
import { setTimeout as pause } from 'node:timers/promises';
import { Client } from 'pg';
import type { ClientConfig } from 'pg';
import { rows } from './pool.ts';
import type { Db } from './pool.ts';
import {
  copiedTables,
  copySlot,
  deleteKeys,
  deleteOfConversations,
  deleteSomeOfSlot,
  makePartitionsOf,
  rowsOfKeys,
  writeRows,
} from './shard-copy.ts';
import type { CopiedTable } from './shard-copy.ts';
import { arrive, hasLeft, readMap, readMoves, switchMap } from './shard-map-rows.ts';
import type { SlotMove } from './shard-map-rows.ts';
import * as own from './shard-move-rows.ts';

export interface MoveOptions {
  /** How long the source's copies stay after the switch, for statements that began before it. */
  readonly graceMs: number;
  readonly onProgress?: (line: string) => void;
}

export interface MoveReport {
  readonly numRows: number;
  readonly numChanges: number;
  /** How long writers of the slot could be kept waiting, ms. */
  readonly heldMs: number;
}

/** A writer that holds the slot longer makes the move wait and try again, not the other writers. */
const LOCK_WAIT = '200ms';
/** A mover that hangs with the lock in hand loses it after this. */
const HOLD_LIMIT_MS = 2000;
const MAX_HELD_MS = 400;
const CHANGES = 500;
/** So few changes are left to the lock. */
const FEW_CHANGES = 50;
const MAX_TRIES = 100;
const RETRY_MS = 20;
const LOCK_MOVE_MS = 1000;

interface Ends {
  readonly directory: Db;
  /** The source's client that takes the lock. */
  readonly source: Db;
  readonly reader: Db;
  readonly target: Db;
}

/**
 * Moves the slot, or goes on with its move that was begun. @param urls databases by shard, with the rights of their owner
 * @returns null when the slot is there already
 * @throws Error in words for the operator
 */
export async function moveSlot(
  urls: readonly string[],
  slot: number,
  target: number,
  options: MoveOptions,
): Promise<MoveReport | null> {
  return withClients(urls, async (open) => {
    const directory = await open(0);
    await lockMove(directory, slot);
    const endsOf = async (move: SlotMove): Promise<Ends> => ({
      directory,
      source: await open(move.source, { idle_in_transaction_session_timeout: HOLD_LIMIT_MS }),
      reader: await open(move.source),
      target: await open(move.target),
    });
    const moveOf = async (): Promise<SlotMove | undefined> =>
      (await readMoves(directory)).find((each) => each.slot === slot);
    const earlier = await moveOf();
    if (earlier?.isSwitched === true) await cleanUp(await endsOf(earlier), earlier);
    else if (earlier !== undefined && earlier.target !== target)
      throw new Error(
        `Slot ${slot} is on its way to shard ${earlier.target}: finish or cancel that.`,
      );
    const source = (await readMap(directory)).shards[slot] ?? 0;
    if (source === target) return null;
    if (earlier === undefined || earlier.isSwitched)
      await own.insertMove(directory, slot, source, target);
    const move = await moveOf();
    if (move === undefined) throw new Error(`The move of slot ${slot} was not recorded.`);
    const ends = await endsOf(move);
    const report = (await hasLeft(ends.source, move))
      ? { numRows: 0, numChanges: 0, heldMs: 0 }
      : await handOver(ends, move, options);
    await arrive(ends.target, move);
    await switchMap(directory, move);
    options.onProgress?.(`served by shard ${target}`);
    await pause(options.graceMs);
    await cleanUp(ends, move);
    return report;
  });
}

/** Takes back a move whose slot is still served by its source. @throws Error when there is none to take back */
export async function cancelMove(urls: readonly string[], slot: number): Promise<void> {
  await withClients(urls, async (open) => {
    const directory = await open(0);
    await lockMove(directory, slot);
    const move = (await readMoves(directory)).find((each) => each.slot === slot);
    if (move === undefined) throw new Error(`Slot ${slot} is not on its way.`);
    const [source, target] = [await open(move.source), await open(move.target)];
    if (move.isSwitched || (await hasLeft(source, move)))
      throw new Error(`Slot ${slot} has left shard ${move.source}: finish its move.`);
    await underLock(source, slot, () => own.stay(source, move));
    await deleteRows(target, move);
    await own.forgetSlot(target, move);
    await own.deleteMove(directory, move);
  });
}

/** The session of a mover that was just killed may need a moment to end. */
async function lockMove(directory: Db, slot: number): Promise<void> {
  const since = performance.now();
  while (!(await own.lockMove(directory, slot))) {
    if (performance.now() - since > LOCK_MOVE_MS)
      throw new Error(`Slot ${slot} is being moved by another process.`);
    await pause(RETRY_MS);
  }
}

/** Everything up to and with the step that decides. */
async function handOver(ends: Ends, move: SlotMove, options: MoveOptions): Promise<MoveReport> {
  const { source, reader, target } = ends;
  const { slot } = move;
  if (!(await own.expectSlot(target, move)))
    throw new Error(`Shard ${move.target} says that it serves slot ${slot} already.`);
  await makePartitionsOf(source, target);
  // Of an earlier try; rows may have gone from the source since.
  await deleteRows(target, move);
  const isServed = await underLock(source, slot, () => own.noteChanges(source, move));
  if (!isServed) throw new Error(`Shard ${move.source} does not serve slot ${slot}.`);
  const numRows = await copySlot(reader, slot, (table, json) =>
    asMove(target, move, () => writeRows(target, table, json)),
  );
  options.onProgress?.(`${numRows} rows copied`);
  const tables = await copiedTables(source);
  let numChanges = 0;
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    numChanges += await catchUp(ends, move, tables);
    let heldSince = performance.now();
    const hasGone = await underLock(source, slot, async () => {
      heldSince = performance.now();
      while (performance.now() - heldSince < MAX_HELD_MS) {
        const some = await copyChanges(ends, move, tables);
        numChanges += some;
        if (some === 0) return own.leave(source, move);
      }
      return false;
    });
    if (hasGone) return { numRows, numChanges, heldMs: performance.now() - heldSince };
  }
  throw new Error(`Slot ${slot} is written faster than it can be copied; it stays where it is.`);
}

/** Copies changes until those that come meanwhile are few, or no fewer than those that came before. */
async function catchUp(
  ends: Ends,
  move: SlotMove,
  tables: readonly CopiedTable[],
): Promise<number> {
  let numChanges = 0;
  for (let last = Infinity; ;) {
    const some = await copyChanges(ends, move, tables);
    numChanges += some;
    if (some <= FEW_CHANGES || (some < CHANGES && some >= last)) return numChanges;
    last = some;
  }
}

/** Copies what the oldest changes are about, as it is now. @returns how many changes there were */
async function copyChanges(
  { source, target }: Ends,
  move: SlotMove,
  tables: readonly CopiedTable[],
): Promise<number> {
  const changes = await own.readChanges(source, move.slot, CHANGES);
  if (changes.length === 0) return 0;
  const found: { table: CopiedTable; present: string | null; absent: string | null }[] = [];
  for (const table of tables) {
    // Each row once, in the order of first changes: a row that makes room for another comes before it.
    const keys = new Set(changes.filter((each) => each.table === table.name).map(({ key }) => key));
    if (keys.size > 0)
      found.push({ table, ...(await rowsOfKeys(source, table, `[${[...keys].join(',')}]`)) });
  }
  await asMove(target, move, async () => {
    for (const { table, absent } of found.toReversed()) {
      if (absent === null) continue;
      if (table.name === 'conversations')
        for (const child of tables.filter(({ owner }) => owner === 'conversation_id'))
          await deleteOfConversations(target, child, absent);
      await deleteKeys(target, table, absent);
    }
    for (const { table, present } of found)
      if (present !== null) await writeRows(target, table, present);
  });
  await own.forgetChanges(
    source,
    changes.map(({ changeId }) => changeId),
  );
  return changes.length;
}

async function cleanUp({ directory, source }: Ends, move: SlotMove): Promise<void> {
  await deleteRows(source, move);
  await own.forgetSlot(source, move);
  await own.deleteMove(directory, move);
}

async function deleteRows(db: Db, move: SlotMove): Promise<void> {
  for (const table of (await copiedTables(db)).toReversed())
    while ((await asMove(db, move, () => deleteSomeOfSlot(db, table, move.slot))) > 0);
}

function asMove<Result>(db: Db, move: SlotMove, work: () => Promise<Result>): Promise<Result> {
  return inTransaction(db, async () => {
    await own.actAsMove(db, move);
    return work();
  });
}

/** Runs `work` while nobody else holds the slot. */
async function underLock<Result>(
  db: Db,
  slot: number,
  work: () => Promise<Result>,
): Promise<Result> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await inTransaction(db, async () => {
        await rows(db, `set local lock_timeout = '${LOCK_WAIT}'`);
        await own.lockSlot(db, slot);
        return work();
      });
    } catch (error) {
      const { code } = ((error as Error).cause ?? {}) as { code?: unknown };
      if (code !== LOCK_NOT_AVAILABLE || tries >= MAX_TRIES) throw error;
      await pause(RETRY_MS);
    }
  }
}

const LOCK_NOT_AVAILABLE = '55P03';

async function inTransaction<Result>(db: Db, work: () => Promise<Result>): Promise<Result> {
  await rows(db, 'begin');
  try {
    const result = await work();
    await rows(db, 'commit');
    return result;
  } catch (error) {
    await rows(db, 'rollback').catch(() => undefined);
    throw error;
  }
}

/** Opens clients for `work` and closes them after it. */
async function withClients<Result>(
  urls: readonly string[],
  work: (open: (shard: number, config?: ClientConfig) => Promise<Db>) => Promise<Result>,
): Promise<Result> {
  const clients: Client[] = [];
  try {
    return await work(async (shard, config = {}) => {
      const url = urls[shard];
      if (url === undefined) throw new Error(`Shard ${shard} is not configured.`);
      const client = new Client({
        connectionString: url,
        application_name: 'colloquy shards',
        ...config,
      });
      // A statement that is under way says it too.
      client.on('error', () => undefined);
      clients.push(client);
      await client.connect();
      return client;
    });
  } finally {
    await Promise.allSettled(clients.map((client) => client.end()));
  }
}
