// A model on the Rust addon, as the engine's executor.
import { AppError } from '../contracts/errors.ts';
import { loadAddon, translated } from './addon.ts';
import type {
  AddonModel,
  ArithmeticChoice,
  DraftModelOptions,
  KvFormat,
  ModelInfo,
  OnStep,
} from './addon.ts';
import type {
  DraftExecutor,
  Executor,
  ForwardBatch,
  ForwardCallback,
  StepLogprobs,
} from './forward-batch.ts';

/** Tokens of one KV block. */
export const BLOCK_SIZE = 16;

export interface LoadOptions {
  /** A GGUF file. */
  readonly path: string;
  readonly kvPoolBytes: number;
  /** Of the pool, and of the draft model's; left out = f16. */
  readonly kvFormat?: KvFormat | undefined;
  /** Memory beside the pool that preempted sequences are copied to; left out = none, they are computed again. */
  readonly swapBytes?: number | undefined;
  /** Threads of the executor; 0 = one for each core. */
  readonly threads: number;
  /** A smaller model with the same vocabulary that guesses for this one, on the same threads; left out = none. */
  readonly draft?: DraftModelOptions | undefined;
  /** How weights meet activations, of the draft model's as well; left out = `blocks`. */
  readonly arithmetic?: ArithmeticChoice | undefined;
  /** A kernel set by name (docs/engine.md lists them), for comparisons; left out = the widest one that this machine has. */
  readonly kernels?: string | undefined;
}

/** A loaded model. It owns its weights, its KV pool and its threads until close(). */
export class NativeModel implements Executor {
  readonly info: ModelInfo;
  readonly blockSize = BLOCK_SIZE;
  /** [sum of all tokens' bytes], token i is offsets[i] … offsets[i + 1]. Control tokens have none. */
  readonly tokenBytes: Uint8Array;
  readonly tokenOffsets: Int32Array;
  /** Null when there is no draft model. */
  readonly draft: DraftExecutor | null;
  readonly #model: AddonModel;
  #onStep: OnStep | null = null;

  /** @throws AppError INVALID_REQUEST when the file is no model that can be served; the message says why */
  constructor(options: LoadOptions) {
    const { NativeModel: Model } = loadAddon();
    const { kvFormat = 'f16', swapBytes = 0, ...others } = options;
    const { arithmetic = 'blocks', kernels = '' } = options;
    const choice = { arithmetic, kernels, blockSize: BLOCK_SIZE };
    const load = { ...others, kvFormat, swapBytes, ...choice };
    this.#model = translated(
      () =>
        new Model(load, (...outcome) => {
          const onStep = this.#onStep;
          this.#onStep = null;
          onStep?.(...outcome);
        }),
    );
    this.info = this.#model.info;
    this.tokenBytes = this.#model.tokenBytes();
    this.tokenOffsets = this.#model.tokenOffsets();
    this.draft =
      this.info.draft === undefined
        ? null
        : {
            contextLength: this.info.draft.contextLength,
            numBlocks: this.info.draft.numBlocks,
            blockSize: BLOCK_SIZE,
            propose: (batch, counts, callback) =>
              this.#start(
                () => this.#model.propose(batch, counts),
                (error, guesses) => callback(stepError(error), guesses),
              ),
          };
  }

  get vocabSize(): number {
    return this.info.vocabSize;
  }

  get contextLength(): number {
    return this.info.contextLength;
  }

  get numBlocks(): number {
    return this.info.numBlocks;
  }

  get numSwapBlocks(): number {
    return this.info.numSwapBlocks;
  }

  get blockCopyMs(): number {
    return this.info.blockCopyMs;
  }

  forward(batch: ForwardBatch, callback: ForwardCallback): void {
    this.#forward(batch, false, (error, sampledIds, _logits, logprobs) =>
      callback(stepError(error), sampledIds, logprobs),
    );
  }

  /** For tests: as forward, and the raw logits [numSamples, vocabSize] beside the ids. */
  forwardWithLogits(batch: ForwardBatch): Promise<{
    sampledIds: Int32Array;
    logits: Float32Array;
    logprobs: StepLogprobs | null;
  }> {
    return new Promise((resolve, reject) => {
      this.#forward(batch, true, (error, sampledIds, logits, logprobs) => {
        if (sampledIds === null || logits === null)
          reject(stepError(error) ?? new AppError('INVARIANT_VIOLATED'));
        else resolve({ sampledIds, logits, logprobs });
      });
    });
  }

  /** Token ids of a text, control tokens never among them. */
  encode(text: string): Int32Array {
    return translated(() => this.#model.encode(text));
  }

  /** The id of a control token such as the ChatML markers; null when the vocabulary has none of that name. */
  controlTokenId(text: string): number | null {
    return this.#model.controlTokenId(text);
  }

  close(): void {
    this.#model.close();
  }

  #forward(batch: ForwardBatch, wantsLogits: boolean, onStep: OnStep): void {
    this.#start(() => this.#model.forward(batch, wantsLogits), onStep);
  }

  /** @param call what onStep is to hear the outcome of */
  #start(call: () => void, onStep: OnStep): void {
    if (this.#onStep !== null)
      throw new AppError('INVARIANT_VIOLATED', { message: 'a step is already under way' });
    this.#onStep = onStep;
    try {
      translated(call);
    } catch (error) {
      this.#onStep = null;
      throw error;
    }
  }
}

function stepError(message: string | null): AppError | null {
  return message === null ? null : new AppError('INVALID_REQUEST', { message });
}
