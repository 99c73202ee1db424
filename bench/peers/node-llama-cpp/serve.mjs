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
/** One context for each number of sequences: it is fixed when a context is made. */
const contexts = new Map();

async function contextFor(numSeqs) {
  if (!contexts.has(numSeqs)) {
    contexts.set(
      numSeqs,
      await model.createContext({
        sequences: numSeqs,
        contextSize: 1024,
        batchSize: 2048,
        threads: { ideal: Number(threads), min: Number(threads) },
      }),
    );
  }
  return contexts.get(numSeqs);
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
  const context = await contextFor(prompts.length);
  const sequences = prompts.map(() => context.getSequence());
  const since = performance.now();
  const times = await Promise.all(
    prompts.map((prompt, index) => generate(sequences[index], prompt, decodeTokens)),
  );
  for (const sequence of sequences) sequence.dispose();
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
