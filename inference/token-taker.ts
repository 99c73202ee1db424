// Hands the tokens that a step sampled to their sequences: forks what was to be forked, keeps the guesses that were right,
// ends what has reached its end.
import type { SequenceFinish, TokenLogprobs } from '../contracts/engine.ts';
import { AppError } from '../contracts/errors.ts';
import { BeamTaker } from './beam-taker.ts';
import { numSamplesOf } from './drafting.ts';
import type { Drafting } from './drafting.ts';
import type { StepLogprobs } from './forward-batch.ts';
import type { LiveSequences } from './live-sequences.ts';
import type { PrefixCache } from './prefix-cache.ts';
import type { ScheduledSequence, Scheduler } from './scheduler.ts';
import type { Sequence } from './sequence.ts';
import { logprobsOf } from './step-logprobs.ts';

export interface TokenTakerDeps {
  readonly scheduler: Scheduler;
  readonly cache: PrefixCache;
  readonly drafting: Drafting;
  readonly live: LiveSequences;
  readonly contextLength: number;
  readonly vocabSize: number;
  /** Aborted while the step was under way: its tokens are dropped. */
  readonly isAborted: (sequence: Sequence) => boolean;
  readonly finish: (sequence: Sequence, finish: SequenceFinish) => void;
  /** Ends a beam that its search gave up, without a word. */
  readonly drop: (sequence: Sequence) => void;
  /** Calls a listener. */
  readonly tell: (call: () => void) => void;
}

/** What the executor answered to a step. */
export interface StepSamples {
  /** One for each sample, in the order of the batch. */
  readonly ids: Int32Array;
  readonly logprobs: StepLogprobs | null;
}

export class TokenTaker {
  readonly #deps: TokenTakerDeps;
  readonly #beams: BeamTaker;
  #lastTokenAtMs: number | null = null;

  constructor(deps: TokenTakerDeps) {
    this.#deps = deps;
    this.#beams = new BeamTaker(deps);
  }

  /** When a token was last taken, ms since the epoch; null before the first. */
  get lastTokenAtMs(): number | null {
    return this.#lastTokenAtMs;
  }

  /** @throws AppError INVARIANT_VIOLATED unless there is one token for each sample */
  take(sampled: readonly ScheduledSequence[], samples: StepSamples): void {
    const numSamples = sampled.reduce((sum, each) => sum + numSamplesOf(each), 0);
    const isToken = (id: number): boolean => id >= 0 && id < this.#deps.vocabSize;
    if (samples.ids.length !== numSamples || !samples.ids.every(isToken)) {
      throw new AppError('INVARIANT_VIOLATED', {
        message: 'the executor did not return one token for each sample',
      });
    }
    if (numSamples > 0) this.#lastTokenAtMs = Date.now();
    let first = 0;
    for (const each of sampled) {
      const end = first + numSamplesOf(each);
      if (each.sequence.search !== null) this.#beams.take(each.sequence, first, samples.logprobs);
      else if (each.sequence.numSeats > 1) this.#fork(each.sequence, first, samples);
      else this.#takeAll(each, first, end, samples);
      first = end;
    }
  }

  /** Why nothing more may be sampled for it; null while something may. */
  endOf(sequence: Sequence): 'stop' | 'length' | null {
    const { numOutputTokens, tokenIds, request } = sequence;
    if (sequence.isChoiceComplete) return 'stop';
    const isLong = tokenIds.length >= this.#deps.contextLength;
    return isLong || numOutputTokens >= request.maxTokens ? 'length' : null;
  }

  /** The first tokens of the replies that share a prompt. */
  #fork(sequence: Sequence, first: number, samples: StepSamples): void {
    const { scheduler, live, isAborted } = this.#deps;
    const forks = isAborted(sequence) ? [] : scheduler.fork(sequence);
    for (const fork of forks) live.add(fork);
    for (const [index, reply] of [sequence, ...forks].entries())
      this.#takeOne(reply, first + index, samples);
  }

  /**
   * The sampled tokens of one sequence. What follows a guess counts only while the guess was right; the keys and values
   * of the wrong ones are overwritten by whatever comes at their positions.
   */
  #takeAll(
    { sequence, draft }: ScheduledSequence,
    first: number,
    end: number,
    samples: StepSamples,
  ): void {
    const guesses = draft?.tokenIds ?? [];
    let numAccepted = 0;
    for (let sample = first; sample < end; sample += 1) {
      const tokenId = this.#takeOne(sequence, sample, samples);
      if (tokenId !== guesses[numAccepted]) break;
      numAccepted += 1;
      if (sequence.state === 'finished' || this.#deps.isAborted(sequence)) break;
      sequence.numComputedTokens += 1;
      this.#deps.cache.register(sequence);
    }
    if (draft !== undefined) this.#deps.drafting.settle(sequence, draft, numAccepted);
  }

  /** Takes one token, if its sequence still wants it; returns its id. */
  #takeOne(sequence: Sequence, sample: number, { ids, logprobs }: StepSamples): number {
    const tokenId = ids[sample] ?? 0;
    const { isAborted, finish, tell } = this.#deps;
    // A listener of the same step may have ended it: one of a reply that came before.
    if (isAborted(sequence) || sequence.state === 'finished') return tokenId;
    const { request, listener, sampleIndex } = sequence;
    if (request.stopTokenIds.includes(tokenId)) {
      finish(sequence, { reason: 'stop' });
      return tokenId;
    }
    sequence.tokenIds.push(tokenId);
    const own = ownLogprobs(sequence, sample, logprobs);
    tell(() => listener.onTokens([tokenId], own, sampleIndex));
    if (isAborted(sequence)) return tokenId;
    const reason = this.endOf(sequence);
    if (reason !== null) finish(sequence, { reason });
    return tokenId;
  }
}

function ownLogprobs(
  { request }: Sequence,
  sample: number,
  logprobs: StepLogprobs | null,
): TokenLogprobs[] | undefined {
  const numTop = request.sampling.logprobs ?? null;
  return logprobs === null || numTop === null ? undefined : [logprobsOf(logprobs, sample, numTop)];
}
