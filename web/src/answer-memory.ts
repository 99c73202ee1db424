// What only this browser knows of an answer: how long its first text took to come, what an error said, and which facts it was
// told. The service tells none of it with the stored turn.
import { readSaved, writeSaved } from './saved.ts';
import type { KeyValue } from './saved.ts';

const KEY = 'colloquy.answers';
const MAX_ENTRIES = 300;

export interface AnswerFacts {
  readonly ttftMs: number | null;
  readonly errorMessage: string | null;
  /** Ids of remembered facts that it was told; left out, none. */
  readonly usedFacts?: readonly string[];
}

export interface AnswerMemory {
  get(turnId: string): AnswerFacts | null;
  set(turnId: string, facts: AnswerFacts): void;
  clear(): void;
}

export function answerMemory(storage: KeyValue): AnswerMemory {
  const saved = readSaved(storage, KEY);
  const entries = new Map<string, AnswerFacts>(Array.isArray(saved) ? saved.filter(isEntry) : []);
  return {
    get: (turnId) => entries.get(turnId) ?? null,
    set: (turnId, facts) => {
      entries.set(turnId, facts);
      const [oldest] = entries.keys();
      if (entries.size > MAX_ENTRIES && oldest !== undefined) entries.delete(oldest);
      writeSaved(storage, KEY, [...entries]);
    },
    clear: () => {
      entries.clear();
      writeSaved(storage, KEY, null);
    },
  };
}

function isEntry(value: unknown): value is [string, AnswerFacts] {
  if (!Array.isArray(value) || typeof value[0] !== 'string') return false;
  const { ttftMs, errorMessage, usedFacts = [] } = (value[1] ?? {}) as Partial<AnswerFacts>;
  return (
    (ttftMs === null || typeof ttftMs === 'number') &&
    (errorMessage === null || typeof errorMessage === 'string') &&
    Array.isArray(usedFacts) &&
    usedFacts.every((each) => typeof each === 'string')
  );
}
