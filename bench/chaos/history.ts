// What a chaos run leaves behind for the checker: the operations in the order of their ends (JSON lines), and the state
// after everything was healed and quiet. Times are ms since the run began.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** One attempt to append a value to a conversation, which is an append-only list of unique integers. */
export interface PostOperation {
  readonly op: 'post';
  readonly client: string;
  readonly conversation: string;
  readonly value: number;
  /** The Idempotency-Key: the attempts of one value share it. */
  readonly key: string;
  readonly begin: number;
  readonly end: number;
  /** accepted: the turn's `open` came. refused: the answer says that nothing was done. unknown: anything else. */
  readonly outcome: 'accepted' | 'refused' | 'unknown';
  /** 0 without an answer. */
  readonly status: number;
  readonly code?: string;
  /** Of the reply; of an accepted attempt. */
  readonly turnId?: string;
}

/** A reply as one reader received it, over one or more connections. */
export interface StreamOperation {
  readonly op: 'stream';
  readonly client: string;
  readonly conversation: string;
  readonly turnId: string;
  /** The entry after which the reader began; 0 for the whole stream. */
  readonly after: number;
  readonly begin: number;
  readonly end: number;
  readonly numConnections: number;
  /** Longest time without a connection, ms: a reader that stays away for long ends its turn. */
  readonly longestAwayMs: number;
  /** Of the events, in order of arrival. */
  readonly ids: readonly number[];
  readonly text: string;
  /** How often `open`, and `done`, came. */
  readonly numOpen: number;
  readonly numDone: number;
  /** Of `done`; null when the reader left before. */
  readonly finishReason: string | null;
  readonly completionTokens: number | null;
  /** Statuses of refused connections, 0 for none. */
  readonly refusals: readonly number[];
  /** The reader went away on purpose before the end. */
  readonly hasLeft: boolean;
  /** The reply came as one JSON object, so there are no ids. */
  readonly isJson?: boolean;
}

/** A conversation as one reader paged through it, oldest turn first. */
export interface ReadOperation {
  readonly op: 'read';
  readonly client: string;
  readonly conversation: string;
  readonly begin: number;
  readonly end: number;
  readonly turns: readonly ReadTurn[];
}

export interface ReadTurn {
  readonly turnId: string;
  readonly role: string;
  /** digestOf() the content. */
  readonly digest: string;
}

/** A call that changes no list: cancel, new conversation. Kept for its status. */
export interface CallOperation {
  readonly op: 'call';
  readonly client: string;
  readonly what: 'cancel' | 'create' | 'read' | 'resume';
  readonly conversation: string;
  readonly turnId?: string;
  readonly begin: number;
  readonly end: number;
  readonly status: number;
  readonly code?: string;
}

/** A turn generated once more in peace: the same prompt, parameters and seed, whatever else the engine has to do. */
export interface ReplayOperation {
  readonly op: 'replay';
  readonly conversation: string;
  /** The turn whose reply should come again. */
  readonly turnId: string;
  readonly begin: number;
  readonly end: number;
  readonly text: string;
  readonly promptTokens: number;
  readonly completionTokens: number;
}

/** What the nemesis did, or why it did not. */
export interface FaultOperation {
  readonly op: 'fault';
  readonly action: string;
  readonly target: string;
  readonly begin: number;
  /** When the process ran, or the network worked, again; of a kill the moment itself. */
  readonly end: number;
  readonly skipped?: string;
}

export type Operation =
  | PostOperation
  | StreamOperation
  | ReadOperation
  | CallOperation
  | ReplayOperation
  | FaultOperation;

export interface FinalTurn {
  readonly turnId: string;
  readonly role: string;
  readonly content: string;
  readonly parentTurnId: string | null;
  readonly finishReason: string | null;
  readonly errorCode: string | null;
  readonly promptTokens: number | null;
  readonly completionTokens: number | null;
  readonly costUsd: number | null;
  /** Length of the text (UTF-16 units) after each entry of the log. */
  readonly streamOffsets: readonly number[] | null;
  /** ms since the run began. */
  readonly createdAt: number;
}

export interface FinalState {
  readonly at: number;
  readonly conversations: readonly {
    readonly id: string;
    readonly activeTurnId: string | null;
    /** In order of their ids. */
    readonly turns: readonly FinalTurn[];
  }[];
  readonly ledger: readonly {
    readonly turnId: string;
    readonly conversation: string;
    readonly promptTokens: number;
    readonly completionTokens: number;
    readonly costUsd: number;
  }[];
  /** Turn logs that Redis still has. */
  readonly logs: readonly {
    readonly turnId: string;
    readonly numbers: readonly number[];
    readonly text: string;
    readonly numTokens: number;
    /** Entries of type `end`. */
    readonly numEnds: number;
  }[];
  readonly openRequests: readonly string[];
  readonly openWorkflows: readonly string[];
  readonly keysWithoutTtl: readonly string[];
  /** Process → KV blocks that sequences still hold. */
  readonly usedBlocks: Readonly<Record<string, number>>;
  /** Reservations that nobody settled, with the ms until they come back by themselves. */
  readonly leases: readonly { readonly turnId: string; readonly expiresInMs: number }[];
  /** Turns that were generated again from their first token, because their log was lost: turn → dispatches. */
  readonly dispatches: Readonly<Record<string, number>>;
}

/** A short name of a text, so that a history of many reads stays small. */
export function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('base64url').slice(0, 12);
}

/** @param path one operation a line */
export function readHistory(path: string): Operation[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Operation);
}
