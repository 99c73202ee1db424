// The turn log's two ends. One append-only log per turn, explicit numbers, fenced by epoch. Design §4.
// Implementations: redis/ (Valkey) and the in-memory twin for unit tests; test/contract runs one suite on both.
import type { ConversationId, TurnId, UserId } from './ids.ts';
import type { NumberedEntry, OpenData, TurnEntry } from './turn-events.ts';

/** Higher than any generation's epoch: seal()'s, so that no generation can append once storing begins. */
export const SEAL_EPOCH = 1_000_000_000;

/** The epoch of a generation: dispatches (by the workflow) × 1000 + attempts (by Temporal) only ever grow. */
export function epochOf(dispatch: number, attempt: number): number {
  return dispatch * 1000 + attempt;
}

export type AppendResult =
  | 'ok'
  /** A higher epoch owns the log, or it has ended: stop generating and free the blocks. */
  | 'fenced'
  /** There is no log: expired, deleted, or Redis lost it. */
  | 'missing';

export interface ClaimedLog {
  /** Everything appended so far, `open` first. */
  readonly entries: readonly NumberedEntry[];
  /** A cancel was asked for before the claim. */
  readonly isCancelled: boolean;
  /** The end entry is written. */
  readonly isEnded: boolean;
}

export interface TurnLogOwner {
  readonly userId: UserId;
  readonly conversationId: ConversationId;
}

export interface TurnLogWriter {
  /** Writes entry 1 unless the log exists; true when this call made it. */
  create(open: OpenData, owner: TurnLogOwner): Promise<boolean>;
  /** Takes the log for `epoch` (≥ the current one) and reads it. */
  claim(turnId: TurnId, epoch: number): Promise<ClaimedLog | 'fenced' | 'missing'>;
  /**
   * Takes the log from every generation, for good, and reads it.
   * @param leastEntry an entry that was acknowledged: a log that ends before it, because Redis came back with an older state,
   * is `short` and stays as it is
   */
  seal(turnId: TurnId, leastEntry: number): Promise<ClaimedLog | 'short' | 'missing'>;
  /** Appends entries n, n + 1 … in one step and pushes them to readers. A repeat of an append that was done answers ok. */
  append(turnId: TurnId, epoch: number, entries: readonly NumberedEntry[]): Promise<AppendResult>;
  /** Re-creates a lost log from what its writer remembers, under its epoch. `ok` only when there was none. */
  restore(
    owner: TurnLogOwner,
    turnId: TurnId,
    epoch: number,
    entries: readonly NumberedEntry[],
  ): Promise<AppendResult>;
  /**
   * Appends the closing entries (the last one is `end`) behind whatever is there, once; later calls change nothing. Readers of a
   * log that is missing hear of the end under the number 0.
   */
  end(turnId: TurnId, closing: readonly TurnEntry[]): Promise<'ok' | 'missing'>;
  /** Marks the log cancelled and tells its worker at once. False when there is no running log. */
  cancel(turnId: TurnId): Promise<boolean>;
  /** Whether a cancel was asked for; false when there is no log. */
  isCancelled(turnId: TurnId): Promise<boolean>;
  /** Removes every trace of the turn. */
  remove(turnId: TurnId): Promise<void>;
}

export interface TurnLogReader {
  /** Entries with n > after, the first `limit` of them. `missing` when there is no log. */
  read(
    turnId: TurnId,
    after: number,
    limit?: number,
  ): Promise<readonly NumberedEntry[] | 'missing'>;
  /**
   * Calls `onEntry` for each entry appended from now on; resolves once that is certain. An `end` under a number that the reader
   * has, or 0, means that the log has lost entries: the rest is in the store.
   * @param onMissing the connection was lost, and when it was back there was no log
   */
  subscribe(
    turnId: TurnId,
    onEntry: (entry: NumberedEntry) => void,
    onMissing?: () => void,
  ): Promise<TurnSubscription>;
  /**
   * The log was lost, and a later dispatch of its turn is making it again: for a while it is shorter than what its readers
   * have. False when it has ended.
   */
  isRemade(turnId: TurnId): Promise<boolean>;
  /** Readers of the turn over all gateways. */
  countReaders(turnId: TurnId): Promise<number>;
}

/** Where a turn's readers are: nobody reads, somebody takes what comes, or all have stalled and the furthest has this entry. */
export type ReadersState = 'none' | 'flowing' | number;

/** For turns of pools with a look-ahead: how far their readers are. */
export interface TurnReaders {
  /** What a gateway's readers of the turn do now; forgotten with the log. */
  report(turnId: TurnId, gateway: string, state: ReadersState): Promise<void>;
  /** Of all gateways together. */
  stateOf(turnId: TurnId): Promise<ReadersState>;
}

export interface TurnSubscription {
  close(): Promise<void>;
}

/** Where the worker that generates a turn hears of a cancel within milliseconds. */
export interface TurnControl {
  onCancel(turnId: TurnId, callback: () => void): Promise<TurnSubscription>;
}
