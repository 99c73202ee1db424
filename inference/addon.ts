// The Rust addon as it is: its surface, its loading, its errors. Ids and flat arrays cross it, once a step; weights and KV memory
// stay on the other side. Errors come back as AppError.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '../contracts/errors.ts';
import type { ForwardBatch, StepLogprobs } from './forward-batch.ts';

/** How keys and values are kept: two bytes each, or one and a scale for each head of a token. */
export type KvFormat = 'f16' | 'q8';

/** See docs/engine.md. The two have different bits, so all that go on with each other's replies need the same. */
export type Arithmetic = 'blocks' | 'rows';
/** `fastest`: `rows` where this machine has AMX, else `blocks`. */
export type ArithmeticChoice = Arithmetic | 'fastest';

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

/** What a step came to, one of them after each call. */
export type OnStep = (
  error: string | null,
  sampledIds: Int32Array | null,
  logits: Float32Array | null,
  logprobs: StepLogprobs | null,
) => void;

export interface Addon {
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

export interface AddonVocabulary {
  readonly info: VocabularyInfo;
  encode(text: string): Int32Array;
  tokenBytes(): Uint8Array;
  tokenOffsets(): Int32Array;
  controlTokenId(text: string): number | null;
  close(): void;
}

export interface AddonModel {
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

export interface AddonEmbedder {
  readonly info: EmbedderInfo;
  encode(text: string): Int32Array;
  embed(tokenIds: Int32Array, starts: Int32Array): Promise<Float32Array>;
  close(): void;
}

/** @throws AppError INTERNAL when it is not built */
export function loadAddon(): Addon {
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

/** The call, its error re-made as AppError INVALID_REQUEST. */
export function translated<Result>(call: () => Result): Result {
  try {
    return call();
  } catch (error) {
    throw asAppError(error);
  }
}

/** Re-makes an error of the addon; its message is a sentence of ours. */
export function asAppError(error: unknown): AppError {
  return new AppError('INVALID_REQUEST', {
    message: error instanceof Error ? error.message : String(error),
    cause: error,
  });
}
