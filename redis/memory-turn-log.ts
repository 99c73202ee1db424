// In-memory twin of the turn log, for unit tests: the same contract suite runs on it and on Valkey.
import type { TurnId } from '../contracts/ids.ts';
import type { NumberedEntry, OpenData, TurnEntry } from '../contracts/turn-events.ts';
import { epochOf, SEAL_EPOCH } from '../contracts/turn-log.ts';
import type {
  AppendResult,
  ClaimedLog,
  TurnControl,
  TurnLogOwner,
  TurnLogReader,
  TurnLogWriter,
  TurnSubscription,
} from '../contracts/turn-log.ts';

interface Log {
  epoch: number;
  isEnded: boolean;
  isCancelled: boolean;
  readonly entries: NumberedEntry[];
}

export class MemoryTurnLog implements TurnLogWriter, TurnLogReader, TurnControl {
  readonly #logs = new Map<TurnId, Log>();
  readonly #readers = new Map<TurnId, Set<(entry: NumberedEntry) => void>>();
  readonly #controls = new Map<TurnId, Set<() => void>>();

  async create(open: OpenData, _owner: TurnLogOwner): Promise<boolean> {
    const turnId = open.turn_id as TurnId;
    if (this.#logs.has(turnId)) return false;
    const log: Log = { epoch: 0, isEnded: false, isCancelled: false, entries: [] };
    this.#logs.set(turnId, log);
    this.#add(turnId, log, { type: 'open', data: open });
    return true;
  }

  async seal(turnId: TurnId, leastEntry: number): Promise<ClaimedLog | 'short' | 'missing'> {
    const log = this.#logs.get(turnId);
    if (log === undefined) return 'missing';
    if (log.entries.length < leastEntry) return 'short';
    log.epoch = SEAL_EPOCH;
    return { entries: [...log.entries], isCancelled: log.isCancelled, isEnded: log.isEnded };
  }

  async claim(turnId: TurnId, epoch: number): Promise<ClaimedLog | 'fenced' | 'missing'> {
    const log = this.#logs.get(turnId);
    if (log === undefined) return 'missing';
    if (epoch < log.epoch) return 'fenced';
    log.epoch = epoch;
    return { entries: [...log.entries], isCancelled: log.isCancelled, isEnded: log.isEnded };
  }

  async append(
    turnId: TurnId,
    epoch: number,
    entries: readonly NumberedEntry[],
  ): Promise<AppendResult> {
    const [log, first, last] = [this.#logs.get(turnId), entries[0], entries.at(-1)];
    if (first === undefined || last === undefined) return 'ok';
    if (log === undefined) return 'missing';
    if (epoch < log.epoch || log.isEnded) return 'fenced';
    const newest = log.entries.length;
    if (first.n > newest + 1) return 'missing';
    if (first.n <= newest)
      return last.n === newest && isSame(log.entries[newest - 1], last) ? 'ok' : 'fenced';
    log.epoch = epoch;
    for (const entry of entries) this.#add(turnId, log, entry);
    return 'ok';
  }

  async restore(
    _owner: TurnLogOwner,
    turnId: TurnId,
    epoch: number,
    entries: readonly NumberedEntry[],
  ): Promise<AppendResult> {
    const log = this.#logs.get(turnId) ?? {
      epoch,
      isEnded: false,
      isCancelled: false,
      entries: [],
    };
    if (epoch < log.epoch || log.isEnded) return 'fenced';
    this.#logs.set(turnId, log);
    log.epoch = epoch;
    for (const entry of entries.slice(log.entries.length)) this.#add(turnId, log, entry);
    return 'ok';
  }

  async end(turnId: TurnId, closing: readonly TurnEntry[]): Promise<'ok' | 'missing'> {
    const [log, last] = [this.#logs.get(turnId), closing.at(-1)];
    if (log === undefined) {
      if (last !== undefined) this.#push(turnId, { ...last, n: 0 });
      return 'missing';
    }
    if (log.isEnded) return 'ok';
    for (const entry of closing) this.#add(turnId, log, entry);
    log.isEnded = true;
    return 'ok';
  }

  async cancel(turnId: TurnId): Promise<boolean> {
    const log = this.#logs.get(turnId);
    if (log === undefined || log.isEnded) return false;
    log.isCancelled = true;
    for (const callback of this.#controls.get(turnId) ?? []) queueMicrotask(callback);
    return true;
  }

  async isCancelled(turnId: TurnId): Promise<boolean> {
    return this.#logs.get(turnId)?.isCancelled ?? false;
  }

  async remove(turnId: TurnId): Promise<void> {
    this.#logs.delete(turnId);
  }

  async read(
    turnId: TurnId,
    after: number,
    limit = Infinity,
  ): Promise<readonly NumberedEntry[] | 'missing'> {
    return this.#logs.get(turnId)?.entries.slice(after, after + limit) ?? 'missing';
  }

  subscribe(turnId: TurnId, onEntry: (entry: NumberedEntry) => void): Promise<TurnSubscription> {
    return listen(this.#readers, turnId, onEntry);
  }

  async isRemade(turnId: TurnId): Promise<boolean> {
    const log = this.#logs.get(turnId);
    return log !== undefined && !log.isEnded && log.epoch >= epochOf(2, 0);
  }

  async countReaders(turnId: TurnId): Promise<number> {
    return this.#readers.has(turnId) ? 1 : 0; // As on Redis: processes that listen, and a twin is one process.
  }

  onCancel(turnId: TurnId, callback: () => void): Promise<TurnSubscription> {
    return listen(this.#controls, turnId, callback);
  }

  #add(turnId: TurnId, log: Log, entry: TurnEntry): void {
    const numbered = { ...entry, n: log.entries.length + 1 };
    log.entries.push(numbered);
    this.#push(turnId, numbered);
  }

  #push(turnId: TurnId, entry: NumberedEntry): void {
    for (const reader of this.#readers.get(turnId) ?? []) queueMicrotask(() => reader(entry));
  }
}

function isSame(one: NumberedEntry | undefined, other: NumberedEntry): boolean {
  return JSON.stringify(one?.data) === JSON.stringify(other.data);
}

async function listen<Listener>(
  all: Map<TurnId, Set<Listener>>,
  turnId: TurnId,
  listener: Listener,
): Promise<TurnSubscription> {
  const listeners = all.get(turnId) ?? new Set<Listener>();
  all.set(turnId, listeners.add(listener));
  return {
    close: async () => {
      listeners.delete(listener);
      if (listeners.size === 0) all.delete(turnId);
    },
  };
}
