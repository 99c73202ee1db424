// Job `back-fill`: token counts of stored turns that have none, month by month.
import {
  storeTokenCounts,
  turnMonths,
  uncountedTurns,
  uncountedWindow,
} from '../postgres/job-turns.ts';
import type { CountedTurn } from '../postgres/job-turns.ts';
import type { JobWork } from './batch-jobs.ts';
import { countAll, findNext, WINDOW_ROWS } from './job-windows.ts';

/** Turns of one statement: a kill loses the work on no more than these. */
const STEP_TURNS = 64;

/**
 * Tokens of a text by the vocabulary of the model that served it; null when the catalogue does not know the model, whose
 * turns then stay as they are.
 */
export type CountTokens = (
  served: { readonly model: string; readonly pool: string | null },
  text: string,
) => Promise<number | null>;

export function createBackFill(countTokens: CountTokens): JobWork {
  return {
    count: async (db, beat) => {
      let total = 0;
      for (const month of await turnMonths(db))
        total += await countAll(
          (after) => uncountedWindow(db, month, after, WINDOW_ROWS, WINDOW_ROWS),
          beat,
        );
      return total;
    },
    next: async (db, from, limit, beat) => {
      const begun = from === null ? '' : monthOf(from);
      for (const month of await turnMonths(db)) {
        if (month < begun) continue;
        const found = await findNext(
          (after) => uncountedWindow(db, month, after, WINDOW_ROWS, limit),
          month === begun ? from : null,
          beat,
        );
        if (found !== null) return found;
      }
      return null;
    },
    run: async (db, { after, through }, beat) => {
      const month = monthOf(through);
      let skipped = 0;
      for (let place = after !== null && monthOf(after) === month ? after : null; ;) {
        const turns = await uncountedTurns(db, month, place, through, STEP_TURNS);
        const last = turns.at(-1);
        if (last === undefined) return skipped;
        const counted: CountedTurn[] = [];
        for (const { conversationId, turnId, content, model, pool } of turns) {
          const numTokens = await countTokens({ model, pool }, content);
          if (numTokens !== null) counted.push({ conversationId, turnId, numTokens });
        }
        await storeTokenCounts(db, month, counted);
        skipped += turns.length - counted.length;
        place = last.place;
        beat(place);
      }
    },
  };
}

/** A place begins with its month. */
function monthOf(place: string): string {
  return place.slice(0, 'YYYY-MM'.length);
}
