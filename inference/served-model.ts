// A model file made ready to serve: weights and pool behind the native executor, engine, template, tokenizer.
import type { ServedModel } from '../contracts/engine.ts';
import { ChatMlTemplate } from './chat-template.ts';
import { StepEngine } from './engine.ts';
import type { EngineOptions } from './engine.ts';
import { NativeModel } from './native.ts';
import { TokenTextStream } from './tokenizer/text-stream.ts';

export interface ServedModelOptions extends Omit<EngineOptions, 'contextLength'> {
  /** A GGUF file. */
  readonly modelPath: string;
  readonly kvPoolBytes: number;
  /** 0 = one for each core. */
  readonly threads: number;
  /** Upper bound; the model's own is another. */
  readonly contextLength: number;
}

/** Loads the model. @throws AppError INVALID_REQUEST when the file cannot be served */
export function createServedModel(options: ServedModelOptions): ServedModel {
  const { modelPath, kvPoolBytes, threads, ...engineOptions } = options;
  const native = new NativeModel({ path: modelPath, kvPoolBytes, threads });
  const contextLength = Math.min(options.contextLength, native.contextLength, native.numBlocks * native.blockSize);
  const engine = new StepEngine(native, { ...engineOptions, contextLength });
  const template = new ChatMlTemplate(native);
  const bytesOf = (id: number): Uint8Array => native.tokenBytes.subarray(native.tokenOffsets[id], native.tokenOffsets[id + 1]);
  const { eosTokenId, name } = native.info;
  return {
    name,
    contextLength,
    engine,
    stopTokenIds: [...new Set([template.endId, ...(typeof eosTokenId === 'number' ? [eosTokenId] : [])])],
    encodePrompt: (messages) => template.render(messages),
    createTextStream: (stop) => new TokenTextStream(bytesOf, stop),
    close: () => engine.close(),
  };
}
