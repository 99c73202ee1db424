// npm run bench:engine -- NAME [--model FILE] [--threads 2] [--pairs 5] [--out FOLDER]: one bench of the engine by its name.
// Each prints JSON lines, then writes them, a Markdown table and a plot to FOLDER. A file instead of a name: `native`.
import { parseOptions } from './options.ts';
import type { BenchOptions } from './options.ts';
import { runAdmission } from './admission.ts';
import { runChunked } from './chunked.ts';
import { runContinuous } from './continuous.ts';
import { runFootprint } from './footprint.ts';
import { runGreedy } from './greedy.ts';
import { runLookup } from './lookup.ts';
import { runNative } from './native.ts';
import { runPeers } from './peers.ts';
import { runPerplexity } from './perplexity.ts';
import { runPrefix } from './prefix.ts';
import { runRoofline } from './roofline.ts';

const BENCHES: Readonly<Record<string, (options: BenchOptions) => Promise<void> | void>> = {
  native: runNative,
  roofline: runRoofline,
  peers: runPeers,
  continuous: runContinuous,
  admission: runAdmission,
  chunked: runChunked,
  prefix: runPrefix,
  lookup: runLookup,
  perplexity: runPerplexity,
  greedy: runGreedy,
  footprint: runFootprint,
};

async function main(): Promise<void> {
  const args = process.argv.slice(2);
  const isNamed = (args[0] ?? '') in BENCHES;
  const name = isNamed ? args[0] : 'native';
  const run = BENCHES[name ?? ''];
  if (run === undefined || (!isNamed && !(args[0] ?? '').includes('.')))
    throw new Error(`name a bench: ${Object.keys(BENCHES).join(', ')}`);
  await run(parseOptions(isNamed ? args.slice(1) : args));
}

void main();
