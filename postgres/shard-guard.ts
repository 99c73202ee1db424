// Asking a shard under the condition that it serves the slot. A shard that does not would answer a read with nothing, and an
// update with no rows: neither would be told from the truth. So each statement carries the question itself.
import type { QueryConfig } from 'pg';
import { servesSlot } from './shard-map-rows.ts';
import type { Pool, PoolClient } from './pool.ts';

/** SQLSTATE with which a shard refuses a slot that it does not serve (migration 0010). */
const NOT_SERVED = 'SH001';
/** SQLSTATE of a missing reference: a new user's row may be on its way from the directory. */
const NOT_YET_COPIED = '23503';

const GUARD = 'slot_guard_ as (insert into slot_guard (slot) values ';

/** Texts are constants, so there are a few dozen. */
const guardedTexts = new Map<string, string | null>();

/** The statement as it is asked of a shard; what is no query (`begin`) stays as it is. */
export function guarded(asked: QueryConfig, slot: number): QueryConfig {
  const values = asked.values ?? [];
  const known = guardedTexts.get(asked.text);
  const text = known === undefined ? withGuard(asked.text, values.length + 1) : known;
  guardedTexts.set(asked.text, text);
  if (text === null) return asked;
  const name = asked.name === undefined ? {} : { name: `${asked.name}g` };
  return { ...asked, ...name, text, values: [...values, slot] };
}

// An insert in a with clause runs to its end whether or not anything reads it, unlike a select.
function withGuard(text: string, parameter: number): string | null {
  const guard = `${GUARD}($${parameter}::smallint))`;
  const first = /^\s*(\w+)(\s+recursive\b)?/i.exec(text);
  const verb = first?.[1]?.toLowerCase() ?? '';
  if (verb === 'with') return `with${first?.[2] ?? ''} ${guard},${text.slice(first?.[0].length)}`;
  return ['select', 'insert', 'update', 'delete', 'merge'].includes(verb)
    ? `with ${guard} ${text}`
    : null;
}

/** Whether the shard refused and another try may find the slot, or the owner, in its place. */
export function isElsewhere(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return code === NOT_SERVED || code === NOT_YET_COPIED;
}

/**
 * A reader beside the primary, whose answer counts when the primary serves the slot after it. A primary that does not
 * answer cannot have given the slot away just now.
 * @throws what the reader throws; null when the slot is elsewhere
 */
export async function readWhileServed<Result>(
  read: () => Promise<Result>,
  primary: Pool | PoolClient,
  slot: number,
): Promise<{ readonly result: Result } | null> {
  const result = await read();
  const isServed = await servesSlot(primary, slot).catch(() => true);
  return isServed ? { result } : null;
}
