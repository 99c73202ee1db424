// How long the first text of an answer took, as this browser saw it. The service does not store what only a reader knows.
import { readSaved, writeSaved } from './saved.ts';
import type { KeyValue } from './saved.ts';

const KEY = 'colloquy.ttft';
const MAX_ENTRIES = 300;

export interface TtftMemory {
  get(turnId: string): number | null;
  set(turnId: string, ms: number): void;
}

export function ttftMemory(storage: KeyValue): TtftMemory {
  const saved = readSaved(storage, KEY);
  const entries = new Map<string, number>(
    Array.isArray(saved) ? saved.filter((each): each is [string, number] => isEntry(each)) : [],
  );
  return {
    get: (turnId) => entries.get(turnId) ?? null,
    set: (turnId, ms) => {
      entries.set(turnId, Math.round(ms));
      const newest = [...entries].slice(-MAX_ENTRIES);
      writeSaved(storage, KEY, newest);
    },
  };
}

function isEntry(value: unknown): boolean {
  return Array.isArray(value) && typeof value[0] === 'string' && typeof value[1] === 'number';
}
