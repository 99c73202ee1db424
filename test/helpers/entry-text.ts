// The text of a turn's log.
import type { NumberedEntry } from '../../contracts/turn-events.ts';

export const textOf = (entries: readonly NumberedEntry[]): string =>
  entries.map((entry) => (entry.type === 'token' ? entry.data.text : '')).join('');
