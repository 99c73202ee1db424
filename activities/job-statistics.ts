// Job `statistics`: counts of a day by organisation, of days that are not final. A day's place is its date.
import { countDay, openDays } from '../postgres/job-days.ts';
import type { JobWork } from './batch-jobs.ts';

/** More than a service lives. */
const ALL_DAYS = 100_000;

export function createStatistics(): JobWork {
  return {
    count: async (db) => (await openDays(db, null, ALL_DAYS)).length,
    next: async (db, after, limit) => {
      const days = await openDays(db, after, limit);
      const through = days.at(-1);
      return through === undefined ? null : { through, count: days.length };
    },
    run: async (db, { after, through }, beat) => {
      for (let place = after; ;) {
        const [day] = await openDays(db, place, 1);
        if (day === undefined || day > through) return 0;
        await countDay(db, day);
        place = day;
        beat(place);
      }
    },
  };
}
