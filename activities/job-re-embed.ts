// Job `re-embed`: facts whose vector is absent or another model's, by user and fact.
import { embeddedText } from '../contracts/fact-text.ts';
import type { TextEmbedder } from '../contracts/text-embedder.ts';
import { staleFacts, staleWindow, storeEmbeddings } from '../postgres/job-facts.ts';
import type { JobWork } from './batch-jobs.ts';
import { countAll, findNext, WINDOW_ROWS } from './job-windows.ts';

/** Facts of one call of the model and one statement: a kill loses the work on no more than these. */
const STEP_FACTS = 32;

/** @param withEmbedder lends the model for as long as the work takes */
export function createReEmbed(
  withEmbedder: <Result>(work: (embedder: TextEmbedder) => Promise<Result>) => Promise<Result>,
): JobWork {
  return {
    count: (db, beat) =>
      withEmbedder(({ model }) =>
        countAll((after) => staleWindow(db, model, after, WINDOW_ROWS, WINDOW_ROWS), beat),
      ),
    next: (db, from, limit, beat) =>
      withEmbedder(({ model }) =>
        findNext((after) => staleWindow(db, model, after, WINDOW_ROWS, limit), from, beat),
      ),
    run: (db, range, beat) => withEmbedder((embedder) => reEmbed(db, embedder, range, beat)),
  };
}

async function reEmbed(
  db: Parameters<JobWork['run']>[0],
  embedder: TextEmbedder,
  { after, through }: Parameters<JobWork['run']>[1],
  beat: Parameters<JobWork['run']>[2],
): ReturnType<JobWork['run']> {
  const { model, width } = embedder;
  let skipped = 0;
  for (let place = after; ;) {
    const facts = await staleFacts(db, model, place, through, STEP_FACTS);
    const last = facts.at(-1);
    if (last === undefined) return skipped;
    const vectors = await embedder.embed(facts.map(({ text }) => embeddedText(text)));
    const embedded = facts.map((fact, index) => ({
      ...fact,
      vector: vectors.subarray(index * width, (index + 1) * width),
    }));
    const stored = await storeEmbeddings(db, model, embedded);
    // A text that was changed or removed meanwhile: its new one has no vector yet, or needs none.
    skipped += facts.length - stored;
    place = last.place;
    beat(place);
  }
}
