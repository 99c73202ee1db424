// Recall of facts on a real store: only the asker's, and exactly the best. MEMORY_QUERIES sets how often it is asked.
import fc from 'fast-check';
import { newFactId } from '../../../contracts/ids.ts';
import type { FactId, UserId } from '../../../contracts/ids.ts';
import { recallFacts } from '../../../postgres/memory-recall.ts';
import { vectorParameter } from '../../../postgres/memory-vectors.ts';
import { rows } from '../../../postgres/pool.ts';
import { createMemoryWorld } from '../../helpers/memory-world.ts';
import type { MemoryWorld } from '../../helpers/memory-world.ts';

const NUM_QUERIES = Number(process.env['MEMORY_QUERIES'] ?? 2000);
const NUM_USERS = 100;
const FACTS_EACH = 20;
const WIDTH = 384;
const MODEL = 'random';

let world: MemoryWorld;
let numbers: () => number;
const facts = new Map<UserId, { factId: FactId; vector: Float32Array }[]>();

/** Neighbours of a few themes, so that users' facts are alike. */
function near(theme: Float32Array, distance: number): Float32Array {
  const vector = theme.map((value) => value + distance * (numbers() - 0.5));
  const length = Math.hypot(...vector);
  return vector.map((value) => value / length);
}

beforeAll(async () => {
  world = await createMemoryWorld();
  const [seed = 1] = fc.sample(fc.nat(), { numRuns: 1, seed: 20_26 });
  let state = seed;
  numbers = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  const themes = Array.from({ length: FACTS_EACH }, () => near(new Float32Array(WIDTH), 1));
  for (let user = 0; user < NUM_USERS; user += 1) {
    const userId = await world.newUser();
    const own = themes.map((theme) => ({ factId: newFactId(), vector: near(theme, 0.02) }));
    facts.set(userId, own);
    await rows(
      world.db,
      `insert into user_memory (user_id, fact_id, text, embedding, embedding_model)
       select $1, f.id, 'alike', f.vector::vector, $4 from unnest($2::uuid[], $3::text[]) f (id, vector)`,
      [
        userId,
        own.map(({ factId }) => factId),
        own.map(({ vector }) => vectorParameter(vector)),
        MODEL,
      ],
    );
  }
}, 60_000);
afterAll(() => world.close());

describe('recall', () => {
  it(`gives its asker's facts only, in ${NUM_QUERIES} queries of ${NUM_USERS} users who said nearly the same`, async () => {
    const users = [...facts.keys()];
    let numLeaks = 0;
    let numFound = 0;
    const ask = async (): Promise<void> => {
      const userId = users[Math.floor(numbers() * users.length)] ?? (users[0] as UserId);
      const own = facts.get(userId) ?? [];
      // Whose vector is asked for is another user's as often as not.
      const other = facts.get(users[Math.floor(numbers() * users.length)] as UserId) ?? [];
      const vector = other[Math.floor(numbers() * other.length)]?.vector ?? new Float32Array();
      const found = await recallFacts(world.db, { userId, vector, model: MODEL }, 5, 0.2);
      numFound += found.length;
      numLeaks += found.filter(({ factId }) => !own.some((each) => each.factId === factId)).length;
    };
    for (let done = 0; done < NUM_QUERIES; done += 10)
      await Promise.all(Array.from({ length: 10 }, ask));
    expect(numLeaks).toBe(0);
    expect(numFound).toBeGreaterThan(NUM_QUERIES / 2);
  }, 120_000);

  it('gives the five that an exact search gives, best first', async () => {
    for (const [userId, own] of [...facts].slice(0, 50)) {
      const vector = near(new Float32Array(WIDTH), 1);
      const similarity = (each: Float32Array): number =>
        each.reduce((sum, value, at) => sum + value * (vector[at] ?? 0), 0);
      const exact = own
        .map(({ factId, vector: each }) => ({ factId, similarity: similarity(each) }))
        .sort((one, other) => other.similarity - one.similarity)
        .slice(0, 5);
      const found = await recallFacts(world.db, { userId, vector, model: MODEL }, 5, -1);
      expect(found.map(({ factId }) => factId)).toEqual(exact.map(({ factId }) => factId));
      for (const [at, each] of found.entries())
        expect(each.similarity).toBeCloseTo(exact[at]?.similarity ?? NaN, 5);
    }
  });

  it('passes over what another model has embedded, what a newer wording hides, and what is not alike', async () => {
    const [[userId, own] = [await world.newUser(), []]] = [...facts];
    const [first, second] = own;
    if (first === undefined || second === undefined) throw new Error('no facts');
    const ask = (model: string, least: number) =>
      recallFacts(world.db, { userId, vector: first.vector, model }, 50, least);
    expect(await ask('another', -1)).toEqual([]);
    expect((await ask(MODEL, 0.99)).map(({ factId }) => factId)).toEqual([first.factId]);
    await rows(
      world.db,
      'update user_memory set superseded_by = $3 where user_id = $1 and fact_id = $2',
      [userId, first.factId, second.factId],
    );
    expect(await ask(MODEL, 0.99)).toEqual([]);
  });

  it('prefers what is used often and lately among what is equally alike', async () => {
    const userId = await world.newUser();
    const vector = near(new Float32Array(WIDTH), 1);
    const ids = [newFactId(), newFactId(), newFactId()];
    await rows(
      world.db,
      `insert into user_memory (user_id, fact_id, text, embedding, embedding_model, created_at, use_count)
       select $1, f.id, 'x', $3, $4, now() - make_interval(days => f.days), f.uses
       from unnest($2::uuid[], $5::int[], $6::int[]) f (id, days, uses)`,
      [userId, ids, vectorParameter(vector), MODEL, [300, 0, 0], [0, 0, 20]],
    );
    const found = await recallFacts(world.db, { userId, vector, model: MODEL });
    expect(found.map(({ factId }) => ids.indexOf(factId))).toEqual([2, 1, 0]);
  });
});
