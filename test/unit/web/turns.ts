// Turns and streams for the page's tests.
import type { Turn } from '../../../web/src/api-types.ts';
import type { KeyValue } from '../../../web/src/saved.ts';

/** A turn; without a role it is a user's when its number is odd, or that of its place in a chain. */
export function turn(id: string, parent: string | null, more: Partial<Turn> = {}): Turn {
  return {
    turn_id: id,
    role: parent === null ? 'user' : (ROLES[id] ?? 'assistant'),
    content: `text of ${id}`,
    parent_turn_id: parent,
    replaces_turn_id: null,
    model: null,
    served_model: null,
    finish_reason: null,
    usage: null,
    created_at: '2026-01-01T00:00:00.000Z',
    ...more,
  };
}

const ROLES: Readonly<Record<string, Turn['role']>> = {
  1: 'user',
  3: 'user',
  6: 'user',
  8: 'user',
};

export type FrameEvent = readonly [id: number, type: string, data: unknown];

/** Frames of a turn's stream as bytes on the wire. */
export function frames(...events: readonly FrameEvent[]): string {
  return events
    .map(([id, type, data]) => `id: ${id}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`)
    .join('');
}

export const OPEN = Object.freeze({
  turn_id: 't',
  user_turn_id: 'u',
  conversation_id: 'c',
  model: 'colloquy-mini',
  served_model: 'small',
  pool: 'mini',
});

export const USAGE = Object.freeze({
  prompt_tokens: 10,
  completion_tokens: 2,
  cached_tokens: 4,
  cost_usd: 0.001,
});

export const DONE = Object.freeze({ turn_id: 't', finish_reason: 'stop', usage: USAGE });

/** localStorage's twin. */
export function memoryStorage(): KeyValue & { readonly entries: Map<string, string> } {
  const entries = new Map<string, string>();
  return {
    entries,
    getItem: (key) => entries.get(key) ?? null,
    setItem: (key, value) => void entries.set(key, value),
    removeItem: (key) => void entries.delete(key),
  };
}
