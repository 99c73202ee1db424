// node-llama-cpp behind the benches' line protocol: {"prompts": [[ids]], "decodeTokens": n} in, seconds out.
// Usage: node serve.mjs MODEL.gguf THREADS, beside the node_modules that set-up.sh made.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { getLlama, LlamaLogLevel } from 'node-llama-cpp';

const [path, threads] = process.argv.slice(2);
const { version } = JSON.parse(
  readFileSync(new URL('node_modules/node-llama-cpp/package.json', import.meta.url), 'utf8'),
);
const llama = await getLlama({
  gpu: false,
  build: 'never',
  maxThreads: Number(threads),
  logLevel: LlamaLogLevel.disabled,
});
const model = await llama.loadModel({ modelPath: path });
/** Sequences by their number: a context is made for a fixed one. */
const contexts = new Map();

async function sequencesFor(numSeqs) {
  if (!contexts.has(numSeqs)) {
    const context = await model.createContext({
      sequences: numSeqs,
      contextSize: 1024,
      batchSize: 2048,
      threads: { ideal: Number(threads), min: Number(threads) },
    });
    contexts.set(
      numSeqs,
      Array.from({ length: numSeqs }, () => context.getSequence()),
    );
  }
  const sequences = contexts.get(numSeqs);
  for (const sequence of sequences) await sequence.clearHistory();
  return sequences;
}

async function generate(sequence, prompt, count) {
  const times = [];
  for await (const _ of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
    times.push(performance.now());
    if (times.length === count) break;
  }
  if (times.length !== count) throw new Error('a sequence ended early');
  return times;
}

async function run({ prompts, decodeTokens }) {
  const sequences = await sequencesFor(prompts.length);
  const since = performance.now();
  const times = await Promise.all(
    prompts.map((prompt, index) => generate(sequences[index], prompt, decodeTokens)),
  );
  const first = Math.max(...times.map((each) => each[0]));
  const last = Math.max(...times.map((each) => each.at(-1)));
  return {
    prefillSeconds: (first - since) / 1000,
    decodeSeconds: (last - first) / 1000,
    residentBytes: process.memoryUsage().rss,
  };
}

const about = `node-llama-cpp ${version}, its own binary for this platform, ${threads} threads`;
process.stdout.write(`${JSON.stringify({ about })}\n`);
for await (const line of createInterface({ input: process.stdin }))
  process.stdout.write(`${JSON.stringify(await run(JSON.parse(line)))}\n`);
process.exit(0);
