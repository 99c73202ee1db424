// A draft model on real threads and weights: what it may not change, what it must refuse, what it saves.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StepEngine } from '../../../inference/engine.ts';
import { NativeModel } from '../../../inference/native.ts';
import { runSequence, sequenceRequest } from '../../helpers/engine-runs.ts';
import { writePerturbed } from '../../helpers/perturbed-weights.ts';
import { followTimedExecutors, TimedExecutor } from '../../helpers/timed-executor.ts';
import { describeWithModel, MODEL_PATH, tokenIds } from './native/model.ts';

const FIXTURES = join(__dirname, '..', '..', 'fixtures', 'architectures');
const LLAMA = join(FIXTURES, 'llama3.gguf');
const POOL = { kvPoolBytes: 1 << 20, threads: 2 };

let folder = '';
let restoreClock = (): void => undefined;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'draft-model-'));
  // By the real clock a draft model as large as its model is not worth asking.
  restoreClock = followTimedExecutors();
});
afterAll(() => {
  restoreClock();
  rmSync(folder, { recursive: true });
});

interface Outcome {
  readonly tokens: readonly (readonly number[])[];
  readonly numSteps: number;
  readonly proposed: number;
  readonly accepted: number;
}

/** Several sequences at once, every other one sampled. */
async function generate(
  native: NativeModel,
  prompts: readonly (readonly number[])[],
  maxTokens: number,
  maxDraftTokens: number,
): Promise<Outcome> {
  const engine = new StepEngine(new TimedExecutor(native), {
    contextLength: native.contextLength,
    maxNumBatchedTokens: 64,
    maxNumSeqs: 8,
    maxDraftTokens,
  });
  try {
    const ends = await Promise.all(
      prompts.map((prompt, index) => {
        const sampling = { temperature: index % 2, topP: 0.95, topK: 40, seed: index };
        return runSequence(engine, sequenceRequest(prompt, { maxTokens, sampling }));
      }),
    );
    const { numSteps, speculation } = engine.stats();
    return {
      tokens: ends.map(({ tokens }) => tokens),
      numSteps,
      proposed: speculation.draftModel?.proposedTokens ?? 0,
      accepted: speculation.draftModel?.acceptedTokens ?? 0,
    };
  } finally {
    await engine.close();
  }
}

describe('a draft model', () => {
  const prompts = [1, 2, 3, 4].map((seed) => tokenIds(seed, 20).map((id) => id % 300));

  it('leaves the tokens what they are, greedy and sampled, right or wrong', async () => {
    const draftPath = join(folder, 'draft.gguf');
    writePerturbed(LLAMA, draftPath);
    const draft = { path: draftPath, kvPoolBytes: 1 << 20 };
    const plain = await generate(new NativeModel({ path: LLAMA, ...POOL }), prompts, 100, 0);
    const drafted = await generate(
      new NativeModel({ path: LLAMA, ...POOL, draft }),
      prompts,
      100,
      8,
    );
    expect(drafted.tokens).toEqual(plain.tokens);
    expect(drafted.accepted).toBeGreaterThan(50);
    expect(drafted.proposed).toBeGreaterThan(drafted.accepted);
    expect(drafted.numSteps).toBeLessThan(plain.numSteps);
  });

  it('is refused when an id means something else to it', () => {
    const draft = { path: join(FIXTURES, 'qwen3.gguf'), kvPoolBytes: 1 << 20 };
    expect(() => new NativeModel({ path: LLAMA, ...POOL, draft })).toThrow(
      expect.objectContaining({
        code: 'INVALID_REQUEST',
        message: expect.stringMatching(
          /the draft model must have the model's vocabulary, but tiny qwen3 has /,
        ) as string,
      }),
    );
  });

  it('is refused when its file or its pool is', () => {
    for (const draft of [
      { path: join(folder, 'absent.gguf'), kvPoolBytes: 1 << 20 },
      { path: LLAMA, kvPoolBytes: 10 },
      { path: LLAMA, kvPoolBytes: NaN },
    ])
      expect(() => new NativeModel({ path: LLAMA, ...POOL, draft })).toThrow(
        expect.objectContaining({ code: 'INVALID_REQUEST' }),
      );
  });
});

describeWithModel('a model that is its own draft model', () => {
  it('agrees with itself, greedy and sampled, and takes a fraction of the steps', async () => {
    const options = { path: MODEL_PATH, kvPoolBytes: 64 << 20, threads: 2 };
    const draft = { path: MODEL_PATH, kvPoolBytes: 32 << 20 };
    const model = new NativeModel(options);
    const prompts = [
      'The history of the river begins in the mountains, where',
      'Once upon a time there was a baker who',
      'Water boils sooner at high altitude because',
    ].map((text) => [...model.encode(text)]);
    const plain = await generate(model, prompts, 48, 0);
    const drafted = await generate(new NativeModel({ ...options, draft }), prompts, 48, 6);
    expect(drafted.tokens).toEqual(plain.tokens);
    expect(drafted.proposed).toBeGreaterThan(60);
    expect(drafted.accepted).toBe(drafted.proposed);
    expect(drafted.numSteps).toBeLessThan(plain.numSteps / 2);
  });
});
