// The contract that lets a reply go on anywhere: a row's logits are the same 32-bit patterns however it was computed.
// Compared bit by bit over random schedules with what each sequence gets alone, at once, and from nothing cached.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { BLOCK_SIZE, NativeModel } from '../../../inference/native.ts';
import type { Arithmetic, DraftModelOptions, KvFormat } from '../../../inference/addon.ts';
import type { LoadOptions } from '../../../inference/native.ts';
import {
  engineSchedules,
  MAX_PROMPT_TOKENS,
  replyContent,
  runSchedule,
} from '../../helpers/engine-schedules.ts';
import type {
  EngineSchedule,
  ScheduleBounds,
  ScheduledOutput,
  SequenceContent,
} from '../../helpers/engine-schedules.ts';
import { LogitsRecorder } from '../../helpers/logits-recorder.ts';
import type { RecordedRow } from '../../helpers/logits-recorder.ts';
import { writePerturbed } from '../../helpers/perturbed-weights.ts';
import { followTimedExecutors, TimedExecutor } from '../../helpers/timed-executor.ts';
import { describeWithModel, MODEL_PATH } from './native/model.ts';

/** Random schedules over all tiny models together. */
const NUM_SCHEDULES = Number(process.env['COLLOQUY_SCHEDULES'] ?? 200);
const LIMIT_MS = 60_000 + NUM_SCHEDULES * 500;
const CASES = ['llama3', 'qwen2', 'qwen3', 'gemma3'].flatMap((name) =>
  (['f16', 'q8'] as const).map((kvFormat) => [name, kvFormat] as const),
);
/** Some hundred tokens of a tiny model: now and then too few. */
const DRAFT_POOL_BYTES = 1 << 17;
const FIXTURES = join(__dirname, '..', '..', 'fixtures', 'architectures');

interface Reference {
  readonly tokenIds: readonly number[];
  /** One string for each output token. */
  readonly logprobs: readonly string[];
  readonly reason: string;
  readonly rowAt: ReadonlyMap<number, RecordedRow>;
}

/** What the schedules of this file had in them. */
interface Coverage {
  numRows: number;
  numPreemptions: number;
  numSwappedOut: number;
  hitTokens: number;
  proposedTokens: number;
  acceptedTokens: number;
  draftProposedTokens: number;
  draftAcceptedTokens: number;
  numForkCopies: number;
  numForked: number;
  numResumed: number;
  numAborted: number;
  numStopped: number;
}

const coverage: Coverage = {
  numRows: 0,
  numPreemptions: 0,
  numSwappedOut: 0,
  hitTokens: 0,
  proposedTokens: 0,
  acceptedTokens: 0,
  draftProposedTokens: 0,
  draftAcceptedTokens: 0,
  numForkCopies: 0,
  numForked: 0,
  numResumed: 0,
  numAborted: 0,
  numStopped: 0,
};

class InvarianceCheck {
  readonly #model: NativeModel;
  readonly #alone: NativeModel;
  readonly #references = new Map<number, Reference>();

  constructor(
    path: string,
    draft: DraftModelOptions,
    numBlocks: number,
    kvFormat: KvFormat,
    arithmetic: Arithmetic = 'blocks',
  ) {
    // Other threads, other places in the pool: neither may matter.
    this.#alone = load({ path, threads: 1, kvFormat, arithmetic }, numBlocks);
    this.#model = load({ path, threads: 2, kvFormat, arithmetic, draft }, numBlocks);
  }

  get vocabSize(): number {
    return this.#model.vocabSize;
  }

  close(): void {
    this.#model.close();
    this.#alone.close();
  }

  /** Runs the schedule; a sentence for each difference from the references. */
  async differences(schedule: EngineSchedule): Promise<string[]> {
    for (const { content, numSamples } of schedule.sequences)
      for (let index = 0; index < numSamples; index += 1)
        await this.#refer(replyContent(content, index));
    const { numBlocks, numSwapBlocks, hasDraftModel } = schedule;
    const recorder = new LogitsRecorder(this.#model, numBlocks, numSwapBlocks, hasDraftModel);
    const { outputs, stats } = await runSchedule(
      schedule,
      new TimedExecutor(recorder),
      (content) => this.#referenceOf(content).tokenIds,
    );
    coverage.numRows += recorder.rows.length;
    coverage.numForkCopies += recorder.numForkCopies;
    coverage.numPreemptions += stats.numPreemptions;
    coverage.numSwappedOut += recorder.numSwappedOut;
    coverage.hitTokens += stats.prefixCache.hitTokens;
    coverage.proposedTokens += stats.speculation.proposedTokens;
    coverage.acceptedTokens += stats.speculation.acceptedTokens;
    const { draftModel } = stats.speculation;
    coverage.draftProposedTokens += draftModel?.proposedTokens ?? 0;
    coverage.draftAcceptedTokens += draftModel?.acceptedTokens ?? 0;
    const found = recorder.rows.flatMap((row) => this.#rowDifferences(row));
    const recorded = new Set(recorder.rows.map(({ seed, position }) => `${seed} ${position}`));
    for (const [index, { content }] of schedule.sequences.entries()) {
      const replies = outputs[index];
      if (replies === undefined) throw new Error(`sequence ${index} never ended`);
      if (replies.length > 1) coverage.numForked += 1;
      for (const [sample, output] of replies.entries())
        found.push(...this.#outputDifferences(replyContent(content, sample), output, recorded));
    }
    return found;
  }

  /** @param recorded "seed position" of every row there was */
  #outputDifferences(
    content: SequenceContent,
    { tokenIds, numResumed, logprobs, reason }: ScheduledOutput,
    recorded: ReadonlySet<string>,
  ): string[] {
    const { seed } = content.sampling;
    const expected = this.#referenceOf(content);
    if (numResumed > 0) coverage.numResumed += 1;
    if (reason === 'abort') coverage.numAborted += 1;
    if (reason === 'stop') coverage.numStopped += 1;
    const end = reason === 'abort' ? tokenIds.length : expected.tokenIds.length;
    const found: string[] = [];
    const same = (what: string, one: unknown, other: unknown): void => {
      if (JSON.stringify(one) !== JSON.stringify(other)) found.push(`other ${what} of ${seed}`);
    };
    same('tokens', tokenIds, expected.tokenIds.slice(0, end));
    same('logprobs', logprobs.map(exactly), expected.logprobs.slice(numResumed, end));
    if (reason !== 'abort') same('end', reason, expected.reason);
    // Every token that came out is known to have been compared.
    for (let token = numResumed; token < tokenIds.length; token += 1) {
      const position = content.promptTokenIds.length + token - 1;
      if (!recorded.has(`${seed} ${position}`)) found.push(`no row at ${position} of ${seed}`);
    }
    return found;
  }

  #rowDifferences({ seed, position, digest, sampledId }: RecordedRow): string[] {
    const reference = this.#references.get(seed);
    if (reference === undefined) return [`a row of seed ${seed}, which nobody has`];
    const expected = reference.rowAt.get(position);
    // A guess may be right beyond the stop id that ended the sequence: the reference has no such row.
    if (expected === undefined) return reference.reason === 'stop' ? [] : [`a row at ${position}`];
    return [
      ...(digest === expected.digest ? [] : [`other logits at position ${position} of ${seed}`]),
      ...(sampledId === expected.sampledId ? [] : [`another token at ${position} of ${seed}`]),
    ];
  }

  #referenceOf(content: SequenceContent): Reference {
    const reference = this.#references.get(content.sampling.seed);
    if (reference === undefined) throw new Error('no reference was made');
    return reference;
  }

  /** The sequence alone: its prompt in one step, then a token a step. */
  async #refer(content: SequenceContent): Promise<void> {
    if (this.#references.has(content.sampling.seed)) return;
    const recorder = new LogitsRecorder(this.#alone);
    const sequence = {
      content,
      arrivalStep: 0,
      priority: 1,
      cacheScope: null,
      numSamples: 1,
      resumedShare: 0,
      abortAfter: null,
    };
    const { outputs, stats } = await runSchedule(
      {
        sequences: [sequence],
        options: { maxNumSeqs: 1, maxNumBatchedTokens: this.#alone.contextLength },
        numBlocks: recorder.numBlocks,
        numSwapBlocks: 0,
        hasDraftModel: false,
      },
      recorder,
      () => [],
    );
    const output = outputs[0]?.[0];
    if (output === undefined || stats.numSteps !== recorder.rows.length)
      throw new Error('the reference is not a prompt at once and then a token a step');
    this.#references.set(content.sampling.seed, {
      tokenIds: output.tokenIds,
      logprobs: output.logprobs.map(exactly),
      reason: output.reason,
      rowAt: new Map(recorder.rows.map((row) => [row.position, row])),
    });
  }
}

/** Numbers by their bits: −0 is not 0. */
function exactly(value: unknown): string {
  return JSON.stringify(value, (_key, each: unknown) => (Object.is(each, -0) ? '-0' : each));
}

function load(options: Omit<LoadOptions, 'kvPoolBytes'>, numBlocks: number): NativeModel {
  const probe = new NativeModel({ ...options, kvPoolBytes: 1 << 20 });
  const { kvBytesPerToken } = probe.info;
  probe.close();
  return new NativeModel({ ...options, kvPoolBytes: numBlocks * BLOCK_SIZE * kvBytesPerToken });
}

const blocksFor = (numTokens: number): number => Math.ceil(numTokens / BLOCK_SIZE);

async function compareSchedules(
  check: InvarianceCheck,
  bounds: Omit<ScheduleBounds, 'vocabSize'>,
  numRuns: number,
): Promise<void> {
  const schedules = engineSchedules({ ...bounds, vocabSize: check.vocabSize });
  const property = fc.asyncProperty(schedules, async (schedule) => {
    expect(await check.differences(schedule)).toEqual([]);
  });
  await fc.assert(property, { numRuns });
}

let folder = '';
let restoreClock = (): void => undefined;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'invariance-'));
  // By the real clock a draft model as large as its model is not worth asking.
  restoreClock = followTimedExecutors();
});
afterAll(() => {
  restoreClock();
  rmSync(folder, { recursive: true });
});

describe('the bits of a row’s logits', () => {
  const maxOutputTokens = 96;
  const minBlocks = blocksFor(MAX_PROMPT_TOKENS + maxOutputTokens);
  const bounds = { maxNumSequences: 8, maxOutputTokens, minBlocks, maxBlocks: 4 * minBlocks };

  it.each(CASES)(
    'are the same in any schedule of a tiny %s with its keys and values in %s',
    async (name, kvFormat) => {
      const path = join(FIXTURES, `${name}.gguf`);
      // A draft model that is often right and often wrong.
      const draftPath = join(folder, `${name}.gguf`);
      writePerturbed(path, draftPath);
      const check = new InvarianceCheck(
        path,
        { path: draftPath, kvPoolBytes: DRAFT_POOL_BYTES },
        bounds.maxBlocks + bounds.minBlocks,
        kvFormat,
      );
      try {
        await compareSchedules(check, bounds, Math.ceil(NUM_SCHEDULES / CASES.length));
      } finally {
        check.close();
      }
    },
    LIMIT_MS,
  );

  it('were compared in schedules that preempt, hit the cache, guess right and wrong, fork, copy, resume, abort and stop', () => {
    expect(Object.entries(coverage).filter(([, count]) => count === 0)).toEqual([]);
    expect(coverage.proposedTokens).toBeGreaterThan(coverage.acceptedTokens);
    expect(coverage.draftProposedTokens).toBeGreaterThan(coverage.draftAcceptedTokens);
  });
});

describeWithModel('the bits of a row’s logits on real weights', () => {
  it.each([
    ['f16', 'blocks'],
    ['q8', 'blocks'],
    ['f16', 'rows'],
    ['q8', 'rows'],
  ] as const)(
    'are the same in any schedule with keys and values in %s and the arithmetic of %s',
    async (kvFormat, arithmetic) => {
      const maxOutputTokens = 12;
      const minBlocks = blocksFor(MAX_PROMPT_TOKENS + maxOutputTokens) + 2;
      const draft = { path: MODEL_PATH, kvPoolBytes: 1 << 23 };
      const bounds = { maxNumSequences: 5, maxOutputTokens, minBlocks, maxBlocks: 4 * minBlocks };
      const check = new InvarianceCheck(
        MODEL_PATH,
        draft,
        bounds.maxBlocks + bounds.minBlocks,
        kvFormat,
        arithmetic,
      );
      try {
        await compareSchedules(check, bounds, Math.ceil(NUM_SCHEDULES / 80));
      } finally {
        check.close();
      }
    },
    LIMIT_MS,
  );
});
