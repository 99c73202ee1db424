// A model file made ready to serve: weights and pool behind the native executor, engine, template, tokenizer.
import type { ServedModel } from '../contracts/engine.ts';
import { chatTemplateOf } from './chat-template.ts';
import { StepEngine } from './engine.ts';
import type { EngineOptions } from './engine.ts';
import { NativeModel } from './native.ts';
import type { ArithmeticChoice, DraftModelOptions, KvFormat } from './addon.ts';
import { stopTokenIdsOf } from './stop-tokens.ts';
import { TokenTextStream } from './tokenizer/text-stream.ts';
import { TokenTable } from './tokenizer/token-table.ts';

export interface ServedModelOptions extends Omit<EngineOptions, 'contextLength'> {
  /** A GGUF file. */
  readonly modelPath: string;
  /** Bytes of all keys and values; the native side makes whole blocks of them. */
  readonly kvPoolBytes: number;
  /** See LoadOptions. */
  readonly kvFormat?: KvFormat | undefined;
  /** See LoadOptions. */
  readonly swapBytes?: number | undefined;
  /** See LoadOptions. Without `maxDraftTokens` it is loaded and never asked. */
  readonly draft?: DraftModelOptions | undefined;
  /** 0 = one for each core. */
  readonly threads: number;
  /** See LoadOptions. */
  readonly arithmetic?: ArithmeticChoice | undefined;
  /** Upper bound; the model's own and the pool's size are others, and the only ones when it is left out. */
  readonly contextLength?: number | undefined;
}

/**
 * Loads a model. The caller owns it and closes it.
 * @throws AppError INVALID_REQUEST when the file cannot be served or the options contradict each other
 */
export function createServedModel(options: ServedModelOptions): ServedModel {
  const { modelPath: path, kvPoolBytes, kvFormat, swapBytes, draft, ...others } = options;
  const { threads, arithmetic, contextLength, ...engineOptions } = others;
  const memory = { kvPoolBytes, kvFormat, swapBytes };
  const native = new NativeModel({ path, ...memory, draft, threads, arithmetic });
  try {
    return serve(native, {
      ...engineOptions,
      contextLength: contextLength ?? native.contextLength,
    });
  } catch (error) {
    native.close();
    throw error;
  }
}

function serve(native: NativeModel, options: EngineOptions): ServedModel {
  const poolTokens = native.numBlocks * native.blockSize;
  const contextLength = Math.min(options.contextLength, native.contextLength, poolTokens);
  const engine = new StepEngine(native, { ...options, contextLength });
  const template = chatTemplateOf(native.info, native);
  const table = new TokenTable(native.tokenBytes, native.tokenOffsets);
  return {
    name: native.info.name,
    contextLength,
    engine,
    continuation: 'tokens',
    stopTokenIds: stopTokenIdsOf(template, native.info.eosTokenId, native),
    encodePrompt: (messages) => template.render(messages),
    encodeText: (text) => [...native.encode(text)],
    tokenBytes: (id) => table.bytesOf(id),
    createTextStream: (stop) => new TokenTextStream((id) => table.bytesOf(id), stop),
    close: () => engine.close(),
  };
}
