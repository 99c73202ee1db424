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
  /** Share of its output that an earlier attempt has emitted already, 0 … 1. */
  readonly resumedShare: number;
  /** It is aborted when it has emitted this many tokens; null = never. */
  readonly abortAfter: number | null;
}

export interface EngineSchedule {
  readonly sequences: readonly PlannedSequence[];
  readonly options: Pick<EngineOptions, 'maxNumSeqs' | 'maxNumBatchedTokens' | 'maxDraftTokens'>;
  readonly numBlocks: number;
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
    resumedShare: fc.constantFrom(0, 0, 0.3, 0.8),
    abortAfter: fc.constantFrom(...Array<null>(7).fill(null), 0, 3, 20),
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
      numBlocks: fc.oneof(
        fc.integer({ min: bounds.minBlocks, max: bounds.minBlocks + 3 }),
        fc.integer({ min: bounds.minBlocks, max: bounds.maxBlocks }),
      ),
    })
    .map(({ sequences, maxNumSeqs, spareTokens, maxDraftTokens, numBlocks }) => ({
      // Now and then one sequence comes again, when its own blocks are cached.
      sequences: sequences.map((each, index) =>
        index % 4 === 3
          ? { ...each, content: sequences[index - 2]?.content ?? each.content }
          : each,
      ),
      options: { maxNumSeqs, maxNumBatchedTokens: maxNumSeqs + spareTokens, maxDraftTokens },
      numBlocks,
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
  readonly reason: string;
}

export interface ScheduleOutcome {
  /** In the order of the schedule's sequences. */
  readonly outputs: readonly ScheduledOutput[];
  readonly stats: EngineStats;
}

/**
 * Runs a schedule to its end, on an engine of its own.
 * @param resumedTokens the whole output of a content, of which resumed sequences get their share
 * @throws what a listener or the engine's check of its blocks threw
 */
export async function runSchedule(
  { sequences, options, numBlocks }: EngineSchedule,
  executor: Executor,
  resumedTokens: (content: SequenceContent) => readonly number[],
): Promise<ScheduleOutcome> {
  if (executor.numBlocks !== numBlocks) throw new Error('the executor has another pool');
  const errors: unknown[] = [];
  const outputs: ScheduledOutput[] = [];
  const pending = sequences
    .map((sequence, index) => ({ sequence, index }))
    .sort((one, other) => one.sequence.arrivalStep - other.sequence.arrivalStep);
  let [numSteps, numLive] = [0, 0];
  let submitDue = (): void => undefined;
  const engine = new StepEngine(executor, {
    ...options,
    contextLength: executor.contextLength,
    onStep: () => {
      numSteps += 1;
      engine.checkIntegrity();
      submitDue();
    },
    onListenerError: (error) => errors.push(error),
    onFailure: (error) => errors.push(error),
  });
  await new Promise<void>((resolve) => {
    submitDue = () => {
      while (pending[0] !== undefined) {
        if (pending[0].sequence.arrivalStep > numSteps && numLive > 0) return;
        const { sequence, index } = pending.shift() ?? pending[0];
        numLive += 1;
        submit(engine, sequence, resumedTokens(sequence.content), (output) => {
          outputs[index] = output;
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

function submit(
  engine: StepEngine,
  { content, priority, cacheScope, resumedShare, abortAfter }: PlannedSequence,
  whole: readonly number[],
  onEnd: (output: ScheduledOutput) => void,
): void {
  const outputTokenIds = whole.slice(0, Math.floor(whole.length * resumedShare));
  const request = sequenceRequest(content.promptTokenIds, {
    ...content,
    outputTokenIds,
    priority,
    cacheScope,
  });
  const tokenIds = [...outputTokenIds];
  const logprobs: TokenLogprobs[] = [];
  const listener: SequenceListener = {
    onTokens: (ids, more = []) => {
      tokenIds.push(...ids);
      logprobs.push(...more);
      if (tokenIds.length - outputTokenIds.length === abortAfter) engine.abort(request.seqId);
    },
    onFinish: ({ reason }) =>
      onEnd({ tokenIds, numResumed: outputTokenIds.length, logprobs, reason }),
  };
  engine.submit(request, listener);
  if (abortAfter === 0) engine.abort(request.seqId);
}
