// Our side: the whole engine. All prompts fit one step, so that decoding starts with every sequence at once.
import type { Contender } from './contender.ts';
import { generate, openEngine, promptOf } from './engine-run.ts';
import { residentBytes } from './machine.ts';
import type { BenchOptions } from './options.ts';

export function ourContender(options: BenchOptions): Contender & { readonly weightsBytes: number } {
  const { native, engine } = openEngine(options, {
    maxNumBatchedTokens: 4096,
    maxNumSeqs: 32,
    kvPoolBytes: 256 << 20,
  });
  return {
    name: 'colloquy',
    weightsBytes: native.info.weightsBytes,
    about: `${native.info.kernels}, ${native.info.threads} threads, whole engine, greedy`,
    run: async ({ numSeqs, promptTokens, decodeTokens }, seed) => {
      const since = performance.now();
      const all = await Promise.all(
        Array.from({ length: numSeqs }, (_, index) =>
          generate(engine, promptOf(seed * 64 + index, promptTokens), decodeTokens),
        ),
      );
      const first = Math.max(...all.map(({ times }) => times[0] ?? NaN));
      const last = Math.max(...all.map(({ times }) => times.at(-1) ?? NaN));
      const tokensPerSecond =
        decodeTokens === 1
          ? (numSeqs * promptTokens * 1000) / (first - since)
          : (numSeqs * (decodeTokens - 1) * 1000) / (last - first);
      return { tokensPerSecond, residentBytes: residentBytes() };
    },
    close: () => engine.close(),
  };
}
