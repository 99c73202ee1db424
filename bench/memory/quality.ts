// How good memory is on a small set of our own (test/fixtures/memory): what the rules find, what the model's judgement is worth,
// where two facts are one, and which facts a message is told. On weights in COLLOQUY_HOME; no services.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { createFactJudge } from '../../activities/fact-judge.ts';
import { embeddedText, recallQuery } from '../../contracts/fact-text.ts';
import { candidatesIn } from '../../conversation/fact-candidates.ts';
import { factSentences } from '../../conversation/fact-sentences.ts';
import { Embedder } from '../../inference/embedder.ts';
import { createServedModel } from '../../inference/served-model.ts';
import { RuleFactGuard } from '../../moderation/fact-guard.ts';
import { SAME_FACT } from '../../postgres/memory-extraction.ts';
import { LEAST_SIMILARITY, MAX_RECALLED } from '../../postgres/memory-recall.ts';
import { quantile, summary } from '../statistics.ts';

interface Messages {
  readonly kept: readonly { readonly message: string; readonly facts: readonly string[] }[];
  readonly dropped: readonly string[];
  readonly passing: readonly string[];
  readonly held_out: { readonly lasting: readonly string[]; readonly passing: readonly string[] };
}

interface Vectors {
  readonly same: readonly (readonly [string, string])[];
  readonly different: readonly (readonly [string, string])[];
  readonly facts: readonly string[];
  /** A message, and the numbers of the facts that belong to it. */
  readonly queries: readonly (readonly [string, readonly number[]])[];
}

const read = <Content>(name: string): Content =>
  JSON.parse(readFileSync(resolve('test', 'fixtures', 'memory', name), 'utf8')) as Content;
const home = resolve(process.env['COLLOQUY_HOME'] ?? '.colloquy');
const guard = new RuleFactGuard();

const factsIn = (message: string): string[] =>
  factSentences(message)
    .flatMap(candidatesIn)
    .filter(({ text, sentence }) => guard.refuses(text, sentence) === null)
    .map(({ text }) => text);
const round = (value: number): number => Math.round(value * 1000) / 1000;

function rules({ kept, dropped, passing }: Messages): object {
  const wanted = kept.flatMap(({ message, facts }) => facts.map((fact) => ({ message, fact })));
  const found = wanted.filter(({ message, fact }) =>
    factsIn(message).some((each) => each.includes(fact)),
  );
  return {
    wanted: wanted.length,
    found: found.length,
    ofMessagesToDrop: dropped.length,
    wronglyKept: dropped.flatMap(factsIn).length,
    ofPassingRemarks: passing.length,
    letThrough: passing.filter((message) => factsIn(message).length > 0).length,
  };
}

async function judgement({ kept, passing, held_out: heldOut }: Messages): Promise<object> {
  const model = createServedModel({
    modelPath: resolve(home, 'models/SmolLM2-135M-Instruct.Q4_1.gguf'),
    kvPoolBytes: 64 << 20,
    threads: 0,
    maxNumBatchedTokens: 256,
    maxNumSeqs: 16,
  });
  const judge = createFactJudge(model);
  const share = async (messages: readonly string[]): Promise<string> => {
    const facts = messages.flatMap(factsIn);
    const verdicts = await Promise.all(facts.map((fact) => judge.isLasting(fact)));
    return `${verdicts.filter(Boolean).length}/${facts.length}`;
  };
  const report = {
    bias: 'chosen on these',
    keptOfLasting: await share(kept.map(({ message }) => message)),
    keptOfPassing: await share(passing),
    heldOutKeptOfLasting: await share(heldOut.lasting),
    heldOutKeptOfPassing: await share(heldOut.passing),
  };
  await model.close();
  return report;
}

async function vectors({ same, different, facts, queries }: Vectors): Promise<object> {
  const embedder = new Embedder({
    modelPath: resolve(home, 'models/all-MiniLM-L6-v2.F16.gguf'),
    threads: 0,
  });
  const embed = async (texts: readonly string[]): Promise<Float32Array[]> => {
    const all = await embedder.embed(texts);
    return texts.map((_, at) => all.slice(at * embedder.width, (at + 1) * embedder.width));
  };
  const cosine = (one: Float32Array, other: Float32Array): number =>
    one.reduce((sum, value, at) => sum + value * (other[at] ?? 0), 0);
  const pairs = async (each: readonly (readonly [string, string])[]): Promise<number[]> =>
    Promise.all(
      each.map(async (pair) => {
        const [one, other] = await embed(pair.map(embeddedText));
        return one === undefined || other === undefined ? NaN : cosine(one, other);
      }),
    );
  const [alike, unlike] = [await pairs(same), await pairs(different)];
  const known = await embed(facts.map(embeddedText));
  const counts = { belonging: 0, told: 0, toldOthers: 0, unrelated: 0, unrelatedTold: 0 };
  const embedMs: number[] = [];
  for (const [message, belonging] of queries) {
    const startedAt = performance.now();
    const [query = new Float32Array()] = await embed([recallQuery(message)]);
    embedMs.push(performance.now() - startedAt);
    const told = known
      .map((each, at) => ({ at, similarity: cosine(each, query) }))
      .filter(({ similarity }) => similarity >= LEAST_SIMILARITY)
      .sort((one, other) => other.similarity - one.similarity)
      .slice(0, MAX_RECALLED);
    const right = told.filter(({ at }) => belonging.includes(at)).length;
    counts.belonging += belonging.length;
    counts.told += right;
    if (belonging.length > 0) counts.toldOthers += told.length - right;
    else counts.unrelated += 1;
    if (belonging.length === 0 && told.length > 0) counts.unrelatedTold += 1;
  }
  await embedder.close();
  return {
    same: {
      merged: alike.filter((each) => each >= SAME_FACT).length,
      of: alike.length,
      least: round(quantile(alike, 0)),
    },
    different: {
      merged: unlike.filter((each) => each >= SAME_FACT).length,
      of: unlike.length,
      most: round(quantile(unlike, 1)),
    },
    recall: counts,
    embedMs: summary(embedMs),
  };
}

/** One report a line. */
export async function reportQuality(report: (line: object) => void): Promise<void> {
  const messages = read<Messages>('messages.json');
  report({ bench: 'memory-rules', ...rules(messages) });
  report({ bench: 'memory-judge', ...(await judgement(messages)) });
  report({ bench: 'memory-vectors', ...(await vectors(read<Vectors>('vectors.json'))) });
}
