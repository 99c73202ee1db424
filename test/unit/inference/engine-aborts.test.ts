// Aborts at any time, from anywhere, of sequences in any state: no block is lost, and every listener hears one end.
import fc from 'fast-check';
import type { SequenceRequest } from '../../../contracts/engine.ts';
import { StepEngine } from '../../../inference/engine.ts';
import { Sequence } from '../../../inference/sequence.ts';
import type { SequenceState } from '../../../inference/sequence.ts';
import { expectedTokens, GREEDY, sequenceRequest } from '../../helpers/engine-runs.ts';
import { makeStepsEqual } from '../../helpers/equal-steps.ts';
import { FakeExecutor } from '../../helpers/fake-executor.ts';

/** Aborts of live sequences in all. */
const NUM_ABORTS = Number(process.env['COLLOQUY_ABORTS'] ?? 1500);
/** So few that texts repeat, and guesses are made and are right now and then. */
const VOCAB_SIZE = 3;

/** What was under way when a sequence was aborted. */
type Moment =
  | 'waiting'
  | 'prefill under way'
  | 'decode under way'
  | 'guesses under way'
  | 'preempted'
  | 'within an update'
  | 'at its last token'
  | 'with cached blocks'
  | 'by close';

const MOMENTS: readonly Moment[] = [
  'waiting',
  'prefill under way',
  'decode under way',
  'guesses under way',
  'preempted',
  'within an update',
  'at its last token',
  'with cached blocks',
  'by close',
];

interface Submitted {
  readonly request: SequenceRequest;
  readonly tokens: number[];
  /** How many tokens it had when it was first aborted; null = never. */
  numTokensAtAbort: number | null;
  readonly ends: string[];
}

const states = new Map<string, SequenceState>();
const tally = new Map<Moment, number>();
const count = (moment: Moment): void => void tally.set(moment, (tally.get(moment) ?? 0) + 1);

beforeAll(() => {
  const { become } = Sequence.prototype;
  jest.spyOn(Sequence.prototype, 'become').mockImplementation(function (this: Sequence, state) {
    become.call(this, state);
    states.set(this.seqId, state);
  });
  // Steps that always cost the same: guesses are free, and a seed decides all that happens.
  makeStepsEqual();
});
afterAll(() => jest.restoreAllMocks());

/** Numbers from a seed: `random(n)` is one of 0 … n − 1. Source: the mulberry32 generator, public domain. */
function randomFrom(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0;
    let hash = Math.imul(state ^ (state >>> 15), state | 1);
    hash ^= hash + Math.imul(hash ^ (hash >>> 7), hash | 61);
    return ((hash ^ (hash >>> 14)) >>> 0) % bound;
  };
}

class AbortRun {
  readonly sequences: Submitted[] = [];
  readonly errors: unknown[] = [];
  readonly engine: StepEngine;
  readonly executor: FakeExecutor;
  readonly #random: (bound: number) => number;
  readonly #numSequences: number;
  /** How rare aborts of running sequences are: where they are frequent, nobody gets long enough to be preempted. */
  readonly #calm: number;
  #isUpdating = false;

  constructor(seed: number) {
    const random = randomFrom(seed);
    this.#random = random;
    this.#numSequences = 4 + random(10);
    this.#calm = 1 + random(8);
    this.executor = new FakeExecutor({
      numBlocks: 12 + random(4),
      vocabSize: VOCAB_SIZE,
      isManual: true,
      draft:
        random(2) === 0
          ? null
          : { numBlocks: 2 + random(30), isWrong: (position) => position % 3 === 0 },
    });
    const maxNumSeqs = 1 + random(8);
    this.engine = new StepEngine(this.executor, {
      maxNumSeqs,
      maxNumBatchedTokens: maxNumSeqs + random(24),
      contextLength: 1000,
      maxDraftTokens: random(3) * 2,
      onStep: () => {
        this.engine.checkIntegrity();
        this.#sometimes(8 * this.#calm, () => this.#abortAny());
      },
      onListenerError: (error) => this.errors.push(error),
      onFailure: (error) => this.errors.push(error),
    });
  }

  async run(): Promise<void> {
    const closesAt = this.#random(4) === 0 ? this.#random(60) : Infinity;
    for (let round = 0; round < closesAt; round += 1) {
      if (this.sequences.length < this.#numSequences) this.#sometimes(2, () => this.#submit());
      this.#sometimes(4 * this.#calm, () => this.#abortAny());
      await Promise.resolve();
      if (this.sequences.length === this.#numSequences && !this.executor.hasStepUnderWay) break;
      this.#release();
    }
    for (const each of this.sequences) {
      if (each.ends.length > 0 || each.numTokensAtAbort !== null) continue;
      each.numTokensAtAbort = each.tokens.length;
      count('by close');
    }
    const closed = this.engine.close();
    while (this.executor.hasStepUnderWay) this.#release();
    await closed;
  }

  #release(): void {
    this.#isUpdating = true;
    this.executor.releaseStep();
    this.#isUpdating = false;
  }

  #sometimes(bound: number, act: () => void): void {
    if (this.#random(bound) === 0) act();
  }

  #submit(): void {
    const index = this.sequences.length;
    const own = Array.from({ length: 1 + this.#random(12) }, () => this.#random(VOCAB_SIZE));
    const common = Array.from({ length: 4 * this.#random(4) }, () => 1);
    const request = sequenceRequest([...common, ...own], {
      maxTokens: 1 + this.#random(24),
      priority: this.#random(3),
      cacheScope: this.#random(4) === 0 ? null : { tenant: 'one', numSharedTokens: 0 },
      // Greedy, so of no effect but to tell its rows from others'.
      sampling: { ...GREEDY, seed: index },
    });
    const submitted: Submitted = { request, tokens: [], numTokensAtAbort: null, ends: [] };
    this.sequences.push(submitted);
    this.engine.submit(request, {
      onTokens: (ids) => {
        submitted.tokens.push(...ids);
        const isLast = submitted.tokens.length === request.maxTokens;
        this.#sometimes(isLast ? 3 : 20 * this.#calm, () => this.#abort(submitted));
        this.#sometimes(20 * this.#calm, () => this.#abortAny());
      },
      onFinish: ({ reason }, numCachedTokens) => {
        submitted.ends.push(reason);
        if (reason === 'abort' && numCachedTokens > 0) count('with cached blocks');
        this.#sometimes(6, () => this.#abortAny());
        this.#sometimes(6, () => this.#abort(submitted));
      },
    });
    this.#sometimes(12, () => this.#abort(submitted));
  }

  #abortAny(): void {
    const live = this.sequences.filter(({ ends }) => ends.length === 0);
    // There are few preempted ones, and for a short time only.
    const preempted = live.filter(({ request }) => states.get(request.seqId) === 'preempted');
    const choice = preempted.length > 0 && this.#random(4) > 0 ? preempted : live;
    const chosen = choice[this.#random(Math.max(1, choice.length))];
    if (chosen !== undefined) this.#abort(chosen);
  }

  #abort(submitted: Submitted): void {
    if (submitted.ends.length === 0 && submitted.numTokensAtAbort === null) {
      submitted.numTokensAtAbort = submitted.tokens.length;
      count(this.#momentOf(submitted));
    }
    this.engine.abort(submitted.request.seqId);
  }

  #momentOf({ request, tokens }: Submitted): Moment {
    const state = states.get(request.seqId) ?? 'waiting';
    if (state === 'preempted' || state === 'waiting') return state;
    const seeds = [...(this.executor.batches.at(-1)?.seeds ?? [])];
    const numRows = seeds.filter((seed) => seed === request.sampling.seed).length;
    if (this.#isUpdating)
      return tokens.length + 1 >= request.maxTokens ? 'at its last token' : 'within an update';
    if (numRows > 1) return 'guesses under way';
    return tokens.length === 0 ? 'prefill under way' : 'decode under way';
  }
}

async function abortAtRandom(seed: number): Promise<void> {
  states.clear();
  const run = new AbortRun(seed);
  await run.run();
  run.engine.checkIntegrity();
  const { waiting, running, preempted, kvBlocks } = run.engine.stats();
  expect({ waiting, running, preempted, used: kvBlocks.used }).toEqual({
    waiting: 0,
    running: 0,
    preempted: 0,
    used: 0,
  });
  expect(run.errors).toEqual([]);
  expect(run.executor.numCloses).toBe(1);
  for (const { request, tokens, numTokensAtAbort, ends } of run.sequences) {
    const whole = expectedTokens(request.promptTokenIds, request.maxTokens, GREEDY, VOCAB_SIZE);
    expect(ends).toEqual([numTokensAtAbort === null ? 'length' : 'abort']);
    expect(tokens).toEqual(whole.slice(0, numTokensAtAbort ?? whole.length));
  }
}

describe('StepEngine under random aborts', () => {
  const numAborts = (): number =>
    [...tally].reduce(
      (sum, [moment, each]) => sum + (moment === 'with cached blocks' ? 0 : each),
      0,
    );

  it('loses no block, ends every sequence once, and says nothing of it after its abort', async () => {
    while (numAborts() < NUM_ABORTS)
      await fc.assert(fc.asyncProperty(fc.integer(), abortAtRandom), { numRuns: 50 });
  }, 600_000);

  it('was aborted at every moment there is', () => {
    expect(MOMENTS.filter((moment) => (tally.get(moment) ?? 0) < 5)).toEqual([]);
  });
});
