// The only loader of the Rust addon and its typed surface. Ids and flat arrays cross it, once a step; weights and KV
// memory stay on the other side. Errors come back as AppError.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '../contracts/errors.ts';
import type {
  DraftExecutor,
  Executor,
  ForwardBatch,
  ForwardCallback,
  StepLogprobs,
} from './forward-batch.ts';

/** Tokens of one KV block. */
export const BLOCK_SIZE = 16;

/** How keys and values are kept: two bytes each, or one and a scale for each head of a token. */
export type KvFormat = 'f16' | 'q8';

/** See docs/engine.md. The two have different bits, so all that go on with each other's replies need the same. */
export type Arithmetic = 'blocks' | 'rows';
/** `fastest`: `rows` where this machine has AMX, else `blocks`. */
export type ArithmeticChoice = Arithmetic | 'fastest';

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

export interface DraftModelOptions {
  /** A GGUF file. */
  readonly path: string;
  /** Its own pool's. */
  readonly kvPoolBytes: number;
}

export interface DraftModelInfo {
  readonly name: string;
  readonly contextLength: number;
  readonly numBlocks: number;
  readonly kvBytesPerToken: number;
  readonly weightsBytes: number;
}

export interface ModelInfo {
  readonly name: string;
  readonly architecture: string;
  readonly contextLength: number;
  readonly vocabSize: number;
  readonly numLayers: number;
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
  readonly arithmetic: Arithmetic;
  readonly kernels: string;
  readonly threads: number;
  readonly numBlocks: number;
  readonly numSwapBlocks: number;
  /** Milliseconds that the copy of one block took at load. */
  readonly blockCopyMs: number;
  readonly kvBytesPerToken: number;
  readonly weightsBytes: number;
  readonly draft?: DraftModelInfo | undefined;
}

type OnStep = (
  error: string | null,
  sampledIds: Int32Array | null,
  logits: Float32Array | null,
  logprobs: StepLogprobs | null,
) => void;

interface Addon {
  readonly NativeModel: new (
    options: {
      path: string;
      kvPoolBytes: number;
      swapBytes: number;
      blockSize: number;
      kvFormat: KvFormat;
      threads: number;
      arithmetic: ArithmeticChoice;
      kernels: string;
      draft?: DraftModelOptions | undefined;
    },
    onStep: OnStep,
  ) => AddonModel;
  readonly NativeEmbedder: new (options: {
    path: string;
    threads: number;
    kernels: string;
  }) => AddonEmbedder;
  readonly NativeVocabulary: new (path: string) => AddonVocabulary;
}

export interface VocabularyInfo {
  readonly name: string;
  readonly architecture: string;
  readonly vocabSize: number;
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
}

interface AddonVocabulary {
  readonly info: VocabularyInfo;
  encode(text: string): Int32Array;
  tokenBytes(): Uint8Array;
  tokenOffsets(): Int32Array;
  controlTokenId(text: string): number | null;
  close(): void;
}

interface AddonModel {
  readonly info: ModelInfo;
  forward(batch: ForwardBatch, wantsLogits: boolean): void;
  propose(batch: ForwardBatch, counts: Uint32Array): void;
  encode(text: string): Int32Array;
  tokenBytes(): Uint8Array;
  tokenOffsets(): Int32Array;
  controlTokenId(text: string): number | null;
  close(): void;
}

export interface EmbedderInfo {
  readonly name: string;
  /** Values of a vector. */
  readonly width: number;
  /** Tokens of the longest text, the two marks around it included. */
  readonly contextLength: number;
  readonly vocabSize: number;
  readonly kernels: string;
  readonly threads: number;
  readonly weightsBytes: number;
}

interface AddonEmbedder {
  readonly info: EmbedderInfo;
  encode(text: string): Int32Array;
  embed(tokenIds: Int32Array, starts: Int32Array): Promise<Float32Array>;
  close(): void;
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

/** A loaded encoder. It owns its weights and its threads until close(). */
export class NativeEmbedder {
  readonly info: EmbedderInfo;
  readonly #model: AddonEmbedder;

  /** @throws AppError INVALID_REQUEST when the file is no encoder that can be served; the message says why */
  constructor(options: Pick<LoadOptions, 'path' | 'threads' | 'kernels'>) {
    const { NativeEmbedder: Model } = loadAddon();
    const { path, threads, kernels = '' } = options;
    this.#model = translated(() => new Model({ path, threads, kernels }));
    this.info = this.#model.info;
  }

  /** Ids of a text between its two marks; what goes beyond the context length is cut off. */
  encode(text: string): Int32Array {
    return translated(() => this.#model.encode(text));
  }

  /**
   * Embeds a batch off the JS thread.
   * @param starts [texts + 1] text i is tokenIds[starts[i] … starts[i + 1])
   * @returns [texts, width], each vector of length 1
   */
  async embed(tokenIds: Int32Array, starts: Int32Array): Promise<Float32Array> {
    try {
      return await this.#model.embed(tokenIds, starts);
    } catch (error) {
      throw asAppError(error);
    }
  }

  /** Frees the model once no batch is under way. */
  close(): void {
    this.#model.close();
  }
}

/** A file's vocabulary without its weights, which may be missing. Owned by the caller until close(). */
export class NativeVocabulary {
  readonly info: VocabularyInfo;
  /** As NativeModel's. */
  readonly tokenBytes: Uint8Array;
  readonly tokenOffsets: Int32Array;
  readonly #vocabulary: AddonVocabulary;

  /** @throws AppError INVALID_REQUEST when the file has no vocabulary that can be used; the message says why */
  constructor(path: string) {
    const { NativeVocabulary: Vocabulary } = loadAddon();
    this.#vocabulary = translated(() => new Vocabulary(path));
    this.info = this.#vocabulary.info;
    this.tokenBytes = this.#vocabulary.tokenBytes();
    this.tokenOffsets = this.#vocabulary.tokenOffsets();
  }

  /** As NativeModel's. @throws AppError INVALID_REQUEST once it is closed */
  encode(text: string): Int32Array {
    return translated(() => this.#vocabulary.encode(text));
  }

  /** As NativeModel's. @throws AppError INVALID_REQUEST once it is closed */
  controlTokenId(text: string): number | null {
    return translated(() => this.#vocabulary.controlTokenId(text));
  }

  close(): void {
    this.#vocabulary.close();
  }
}

function loadAddon(): Addon {
  // Beside the sources, or two folders up from dist/inference.
  const folders = [join(__dirname, 'native'), join(__dirname, '..', '..', 'inference', 'native')];
  const path =
    folders.map((folder) => join(folder, 'build', 'engine.node')).find(existsSync) ?? 'engine.node';
  try {
    return require(path) as Addon;
  } catch (error) {
    throw new AppError('INTERNAL', {
      message: 'the native engine is not built: run npm run build:native',
      cause: error,
    });
  }
}

function stepError(message: string | null): AppError | null {
  return message === null ? null : new AppError('INVALID_REQUEST', { message });
}

function translated<Result>(call: () => Result): Result {
  try {
    return call();
  } catch (error) {
    throw asAppError(error);
  }
}

/** Re-makes an error of the addon; its message is a sentence of ours. */
function asAppError(error: unknown): AppError {
  return new AppError('INVALID_REQUEST', {
    message: error instanceof Error ? error.message : String(error),
    cause: error,
  });
}
