// Random schedules: which sequences come when, into an engine of which limits; and how one is run.
import fc from 'fast-check';
import type {
  EngineStats,
  SamplingParams,
  SequenceListener,
  SequenceRequest,
  TokenLogprobs,
} from '../../contracts/engine.ts';
import { StepEngine } from '../../inference/engine.ts';
import type { EngineOptions } from '../../inference/engine.ts';
import type { Executor } from '../../inference/forward-batch.ts';
import { sampleSeed } from '../../contracts/samples.ts';
import { sequenceRequest } from './engine-runs.ts';

/** What decides a sequence's output; everything else must not. */
export type SequenceContent = Pick<
  SequenceRequest,
  'promptTokenIds' | 'maxTokens' | 'stopTokenIds' | 'sampling'
>;

/** How one sequence of a schedule is served. */
export interface PlannedSequence {
  readonly content: SequenceContent;
  /** It comes once this many steps have run, or when nothing else is left to run. */
  readonly arrivalStep: number;
  readonly priority: number;
  /** Null = it takes no part in the prefix cache. */
  readonly cacheScope: SequenceRequest['cacheScope'];
  /** Replies it makes. One that resumes, and one that takes more seats than there are, makes one. */
  readonly numSamples: number;
  /** Share of its output that an earlier attempt has emitted already, 0 … 1. */
  readonly resumedShare: number;
  /** It is aborted when it has emitted this many tokens; null = never. */
  readonly abortAfter: number | null;
}

export interface EngineSchedule {
  readonly sequences: readonly PlannedSequence[];
  readonly options: Pick<EngineOptions, 'maxNumSeqs' | 'maxNumBatchedTokens' | 'maxDraftTokens'>;
  readonly numBlocks: number;
  /** Room beside the pool for those that are preempted. */
  readonly numSwapBlocks: number;
  /** Whether the executor's draft model, if it has one, is there to guess. */
  readonly hasDraftModel: boolean;
}

export interface ScheduleBounds {
  readonly vocabSize: number;
  readonly maxNumSequences: number;
  readonly maxOutputTokens: number;
  /** Blocks of the smallest pool: the longest sequence must fit. */
  readonly minBlocks: number;
  readonly maxBlocks: number;
}

/** Prompts begin with none, one or two of these, as those of one service do, and end with something of their own. */
const NUM_SYSTEM_TOKENS = 35;
const NUM_TENANT_TOKENS = 20;
const MAX_OWN_TOKENS = 40;
export const MAX_PROMPT_TOKENS = NUM_SYSTEM_TOKENS + NUM_TENANT_TOKENS + MAX_OWN_TOKENS;

/** Schedules whose sequences share beginnings, repeat themselves, come late, resume, end early and are aborted. */
export function engineSchedules(bounds: ScheduleBounds): fc.Arbitrary<EngineSchedule> {
  const id = fc.nat(bounds.vocabSize - 1);
  const maybe = <Value>(value: fc.Arbitrary<Value>): fc.Arbitrary<Value | undefined> =>
    fc.option(value, { nil: undefined, freq: 1 });
  const sampling = fc.record({
    temperature: fc.constantFrom(0, 0, 0.7, 1),
    topP: fc.constantFrom(0.9, 1),
    topK: fc.constantFrom(0, 20),
    minP: maybe(fc.constant(0.02)),
    repetitionPenalty: maybe(fc.constant(1.2)),
    frequencyPenalty: maybe(fc.constantFrom(-0.5, 0.5)),
    presencePenalty: maybe(fc.constant(0.5)),
    logitBias: maybe(fc.tuple(fc.tuple(id, fc.constantFrom(-5, 2)))),
    logprobs: fc.constantFrom(undefined, null, 3),
  });
  // Few different ids repeat, and so give guesses to make; many do not.
  const tail = fc.oneof(
    fc.array(id, { minLength: 1, maxLength: 5 }),
    fc.array(id, { minLength: 1, maxLength: MAX_OWN_TOKENS }),
    fc
      .tuple(fc.array(id, { minLength: 2, maxLength: 5 }), fc.integer({ min: 2, max: 8 }))
      .map(([ids, times]) => Array.from({ length: times }, () => ids).flat()),
  );
  const content = fc
    .record({
      numShared: fc.constantFrom(0, 0, NUM_SYSTEM_TOKENS, NUM_SYSTEM_TOKENS + NUM_TENANT_TOKENS),
      tail,
      maxTokens: fc.oneof(
        fc.integer({ min: 1, max: bounds.maxOutputTokens }),
        fc.constant(bounds.maxOutputTokens),
      ),
      stopTokenIds: fc.array(id, { maxLength: 3 }),
      sampling,
    })
    .map(({ numShared, tail: own, ...more }) =>
      named({ ...more, promptTokenIds: [...sharedTokens(bounds.vocabSize, numShared), ...own] }),
    );
  const cacheScope = fc.constantFrom(
    null,
    ...[0, NUM_SYSTEM_TOKENS].flatMap((numSharedTokens) =>
      ['one', 'two'].map((tenant) => ({ tenant, numSharedTokens })),
    ),
  );
  const sequence = fc.record({
    content,
    arrivalStep: fc.oneof(fc.constant(0), fc.nat(30)),
    priority: fc.integer({ min: 1, max: 3 }),
    cacheScope,
    numSamples: fc.constantFrom(1, 1, 1, 3),
    resumedShare: fc.constantFrom(0, 0, 0.3, 0.8),
    abortAfter: fc.constantFrom(...Array<null>(7).fill(null), 0, 1, 3, 20),
  });
  return fc
    .record({
      sequences: fc.array(sequence, {
        minLength: 1,
        maxLength: bounds.maxNumSequences,
        size: 'max',
      }),
      maxNumSeqs: fc.oneof(
        fc.integer({ min: 1, max: bounds.maxNumSequences }),
        fc.constant(bounds.maxNumSequences),
      ),
      spareTokens: fc.oneof(fc.nat(10), fc.nat(200)),
      maxDraftTokens: fc.constantFrom(0, 1, 3, 8),
      numSwapBlocks: fc.constantFrom(0, 4, bounds.minBlocks),
      hasDraftModel: fc.boolean(),
      numBlocks: fc.oneof(
        fc.integer({ min: bounds.minBlocks, max: bounds.minBlocks + 3 }),
        fc.integer({ min: bounds.minBlocks, max: bounds.maxBlocks }),
      ),
    })
    .map(({ sequences, maxNumSeqs, spareTokens, maxDraftTokens, ...memory }) => ({
      // Now and then one sequence comes again, when its own blocks are cached.
      sequences: sequences.map((each, index) =>
        index % 4 === 3
          ? { ...each, content: sequences[index - 2]?.content ?? each.content }
          : each,
      ),
      options: { maxNumSeqs, maxNumBatchedTokens: maxNumSeqs + spareTokens, maxDraftTokens },
      ...memory,
    }));
}

/** Gives a content the seed that names it: equal contents have equal ones. */
function named(
  content: Omit<SequenceContent, 'sampling'> & { readonly sampling: Omit<SamplingParams, 'seed'> },
): SequenceContent {
  const seed = [...JSON.stringify(content)].reduce(
    (hash, character) => Math.imul(hash ^ character.charCodeAt(0), 0x01000193) >>> 0,
    0x811c9dc5,
  );
  return { ...content, sampling: { ...content.sampling, seed } };
}

function sharedTokens(vocabSize: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => (index * 7919 + 13) % vocabSize);
}

export interface ScheduledOutput {
  /** An earlier attempt's tokens, then those of this one. */
  readonly tokenIds: readonly number[];
  readonly numResumed: number;
  readonly logprobs: readonly TokenLogprobs[];
  /** How it ended. */
  readonly reason: string;
}

export interface ScheduleOutcome {
  /** In the order of the schedule's sequences: each one's replies. */
  readonly outputs: readonly (readonly ScheduledOutput[])[];
  readonly stats: EngineStats;
}

/**
 * Runs a schedule to its end, on an engine of its own.
 * @param resumedTokens the whole output of a content, of which resumed sequences get their share
 * @throws what a listener or the engine's check of its blocks threw
 */
export async function runSchedule(
  { sequences, options, numBlocks, numSwapBlocks }: EngineSchedule,
  executor: Executor,
  resumedTokens: (content: SequenceContent) => readonly number[],
): Promise<ScheduleOutcome> {
  if (executor.numBlocks !== numBlocks || executor.numSwapBlocks !== numSwapBlocks)
    throw new Error('the executor has another pool');
  const errors: unknown[] = [];
  const outputs: ScheduledOutput[][] = [];
  const pending = sequences
    .map((sequence, index) => ({ sequence, index }))
    .sort((one, other) => one.sequence.arrivalStep - other.sequence.arrivalStep);
  let [numSteps, numLive] = [0, 0];
  let submitDue = (): void => undefined;
  let fail = (_error: Error): void => undefined;
  const engine = new StepEngine(executor, {
    ...options,
    contextLength: executor.contextLength,
    onStep: () => {
      numSteps += 1;
      engine.checkIntegrity();
      submitDue();
    },
    onListenerError: (error) => errors.push(error),
    onFailure: (error) => fail(error),
  });
  await new Promise<void>((resolve, reject) => {
    fail = reject;
    submitDue = () => {
      while (pending[0] !== undefined) {
        if (pending[0].sequence.arrivalStep > numSteps && numLive > 0) return;
        const { sequence, index } = pending.shift() ?? pending[0];
        numLive += 1;
        const numSamples = Math.min(sequence.numSamples, options.maxNumSeqs);
        submit(engine, { ...sequence, numSamples }, resumedTokens(sequence.content), (replies) => {
          outputs[index] = replies;
          numLive -= 1;
          if (numLive === 0) submitDue();
        });
      }
      if (numLive === 0) resolve();
    };
    submitDue();
  });
  await engine.close();
  engine.checkIntegrity();
  if (errors.length > 0) throw errors[0];
  return { outputs, stats: engine.stats() };
}

/** The content that one of the replies to a content has. */
export function replyContent(content: SequenceContent, sampleIndex: number): SequenceContent {
  const { sampling } = content;
  return { ...content, sampling: { ...sampling, seed: sampleSeed(sampling.seed, sampleIndex) } };
}

/** @param onEnd hears of all replies when the last one has ended */
function submit(
  engine: StepEngine,
  { content, priority, cacheScope, numSamples, resumedShare, abortAfter }: PlannedSequence,
  whole: readonly number[],
  onEnd: (replies: ScheduledOutput[]) => void,
): void {
  const outputTokenIds = whole.slice(0, Math.floor(whole.length * resumedShare));
  const numResumed = outputTokenIds.length;
  const request = sequenceRequest(content.promptTokenIds, {
    ...content,
    outputTokenIds,
    numSamples: numResumed > 0 ? 1 : numSamples,
    priority,
    cacheScope,
  });
  let [numEnded, hasBegun] = [0, false];
  const replies: {
    tokenIds: number[];
    numResumed: number;
    logprobs: TokenLogprobs[];
    reason: string;
  }[] = [];
  const replyAt = (index: number): (typeof replies)[number] =>
    (replies[index] ??= { tokenIds: [...outputTokenIds], numResumed, logprobs: [], reason: '' });
  const listener: SequenceListener = {
    onTokens: (ids, logprobs = [], sampleIndex = 0) => {
      const reply = replyAt(sampleIndex);
      if (reply.reason !== '') throw new Error('a reply goes on behind its end');
      hasBegun = true;
      reply.tokenIds.push(...ids);
      reply.logprobs.push(...logprobs);
      if (sampleIndex === 0 && reply.tokenIds.length - numResumed === abortAfter)
        engine.abort(request.seqId);
    },
    onFinish: ({ reason }, _numCachedTokens, sampleIndex = 0) => {
      const reply = replyAt(sampleIndex);
      if (reply.reason !== '') throw new Error('a reply ended twice');
      reply.reason = reason;
      numEnded += 1;
      // Aborted within its prompt, a request is one sequence still.
      const isWhole = reason === 'abort' && !hasBegun;
      if (isWhole || numEnded === request.numSamples) onEnd(replies);
    },
  };
  engine.submit(request, listener);
  if (abortAfter === 0) engine.abort(request.seqId);
}
