// Which turns this browser follows, saved while they run, so that a page that was reloaded takes them up again. A turn
// that has no id yet is posted again under its Idempotency-Key, which finds the turn that the first try made, if it did.
import type { PostTurn } from './api-client.ts';
import type { Turn } from './api-types.ts';
import { readSaved, writeSaved } from './saved.ts';
import type { KeyValue } from './saved.ts';

const KEY = 'colloquy.running';
/** Streams of older turns have expired; the conversation itself has their answers. */
const MAX_AGE_MS = 6 * 3600_000;

export interface RunningTurn {
  /** Null for a turn that another page started. */
  readonly post: PostTurn | null;
  readonly conversationId: string;
  readonly turnId: string | null;
  /** The message as sent: the service may not have stored it yet when the page comes back. */
  readonly userTurn: Turn | null;
  readonly answeredTurnId: string;
  readonly replacesTurnId: string | null;
  readonly startedAtMs: number;
}

export interface RunningTurns {
  all(nowMs: number): RunningTurn[];
  /** One turn a conversation: a later one takes the place of an earlier one. */
  save(turn: RunningTurn): void;
  remove(conversationId: string): void;
  clear(): void;
}

export function runningTurns(storage: KeyValue): RunningTurns {
  const read = (): RunningTurn[] => {
    const saved = readSaved(storage, KEY);
    return Array.isArray(saved) ? saved.filter(isRunningTurn) : [];
  };
  const without = (id: string): RunningTurn[] =>
    read().filter(({ conversationId }) => conversationId !== id);
  const write = (turns: RunningTurn[]): void =>
    writeSaved(storage, KEY, turns.length === 0 ? null : turns);
  return {
    all: (nowMs) => read().filter(({ startedAtMs }) => nowMs - startedAtMs < MAX_AGE_MS),
    save: (turn) => write([...without(turn.conversationId), turn]),
    remove: (conversationId) => write(without(conversationId)),
    clear: () => write([]),
  };
}

function isRunningTurn(value: unknown): value is RunningTurn {
  if (typeof value !== 'object' || value === null) return false;
  const { post, conversationId, turnId, answeredTurnId, startedAtMs } =
    value as Partial<RunningTurn>;
  return (
    typeof conversationId === 'string' &&
    typeof answeredTurnId === 'string' &&
    typeof startedAtMs === 'number' &&
    (typeof turnId === 'string' || (turnId === null && typeof post === 'object' && post !== null))
  );
}
