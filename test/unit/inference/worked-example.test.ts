// The worked example of docs/engine.md is what the engine does: its table is made here, and compared with the document.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SequenceRequest } from '../../../contracts/engine.ts';
import { StepEngine } from '../../../inference/engine.ts';
import type { Executor, ForwardBatch, ForwardCallback } from '../../../inference/forward-batch.ts';
import { GREEDY, sequenceRequest } from '../../helpers/engine-runs.ts';
import { FakeExecutor } from '../../helpers/fake-executor.ts';

const DOCUMENT = join(__dirname, '..', '..', '..', 'docs', 'engine.md');
const NUM_BLOCKS = 8;
const BLOCK_SIZE = 4;
const PROMPT_A = [1, 2, 3, 4, 10, 11, 12, 13, 14, 10, 11, 12];
const PROMPT_B = [1, 2, 3, 4, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30];
/** What the model says in each step. In step 3 B has two, one for each reply; in step 4 A has three, one behind each guess. */
const SAMPLES = [[], [13], [14, 31, 41], [10, 50, 51, 32, 42], [51, 33], [52], [34, 43], [44]];

/** Tells the example's tokens; the fake one checks that each batch reads what was written for its own sequence. */
class ScriptedExecutor extends FakeExecutor implements Executor {
  #step = 0;

  override forward(batch: ForwardBatch, callback: ForwardCallback): void {
    super.forward(batch, (error) => {
      callback(error, Int32Array.from(SAMPLES[this.#step++] ?? []));
    });
  }
}

/** "A 8…11" and so on of a batch: which sequence it is shows in its tokens. */
function rowsOf(
  batch: ForwardBatch,
): { name: string; first: number; end: number; index: number }[] {
  return Array.from(batch.contextLens, (_, index) => {
    const [first = 0, end = 0] = batch.queryStarts.slice(index, index + 2);
    const has = (from: number, to: number): boolean =>
      batch.tokenIds.slice(first, end).some((id) => id >= from && id < to);
    return { name: has(40, 50) ? 'B′' : has(20, 40) ? 'B' : 'A', first, end, index };
  });
}

const span = (numbers: Int32Array): string =>
  numbers.length === 1 ? `${numbers[0]}` : `${numbers[0]}…${numbers.at(-1)}`;
const range = (count: number): number[] => Array.from({ length: count }, (_, id) => id);

/** A line of the table: a batch as it was handed over, and what the engine said of its blocks then. */
function describeStep(step: number, batch: ForwardBatch, cached: number): string {
  const sequences = rowsOf(batch);
  const tables = sequences.map(({ index }) =>
    [...batch.blockTables.slice(index * batch.maxBlocks, (index + 1) * batch.maxBlocks)].filter(
      (id) => id >= 0,
    ),
  );
  const counts = range(NUM_BLOCKS).map((id) => tables.filter((ids) => ids.includes(id)).length);
  const each = (tell: (sequence: (typeof sequences)[number]) => string): string =>
    sequences.map((sequence) => `${sequence.name} ${tell(sequence)}`).join('; ');
  return `| ${[
    step,
    each(({ first, end }) => span(batch.positions.slice(first, end))),
    each(({ index }) => `[${(tables[index] ?? []).join(' ')}]`),
    each(({ first, end }) => slotsOf(batch.slots.slice(first, end))),
    counts.join(' '),
    cached,
    copiesOf(batch),
  ].join(' | ')} |`;
}

function copiesOf({ copies }: ForwardBatch): string {
  const all = Array.from(
    copies?.sources ?? [],
    (source, index) => `${source} → ${copies?.targets[index]}`,
  );
  return all.join(', ') || '–';
}

/** Runs of slots, block by block. */
function slotsOf(slots: Int32Array): string {
  const runs: number[][] = [];
  for (const slot of slots) {
    const run = runs.at(-1);
    if (run?.at(-1) === slot - 1) run.push(slot);
    else runs.push([slot]);
  }
  return runs.map((run) => span(Int32Array.from(run))).join(', ');
}

describe('the worked example of docs/engine.md', () => {
  it('is what the engine does', async () => {
    const executor = new ScriptedExecutor({
      numBlocks: NUM_BLOCKS,
      blockSize: BLOCK_SIZE,
      isManual: true,
    });
    const lines: string[] = [];
    const said: Record<string, number[]> = { A: [], B: [], 'B′': [] };
    const errors: unknown[] = [];
    const engine = new StepEngine(executor, {
      maxNumBatchedTokens: 8,
      maxNumSeqs: 3,
      maxDraftTokens: 2,
      contextLength: 100,
      // Reference counts are the numbers of tables that hold a block: this throws where they are not.
      onStep: () => engine.checkIntegrity(),
      onListenerError: (error) => errors.push(error),
      onFailure: (error) => errors.push(error),
    });
    const submit = (seqId: 'A' | 'B', prompt: number[], more: Partial<SequenceRequest>): void => {
      const reply = (sampleIndex = 0): string => seqId + '′'.repeat(sampleIndex);
      engine.submit(sequenceRequest(prompt, { seqId, sampling: GREEDY, ...more }), {
        onTokens: (ids, _logprobs, sampleIndex) => said[reply(sampleIndex)]?.push(...ids),
        onFinish: ({ reason }, _numCached, sampleIndex) =>
          said[reply(sampleIndex)]?.push(reason === 'length' ? -1 : -2),
      });
    };
    submit('A', PROMPT_A, { maxTokens: 6 });
    await Promise.resolve();
    submit('B', PROMPT_B, { maxTokens: 4, numSamples: 2 });
    for (let step = 1; executor.hasStepUnderWay; step += 1) {
      const batch = executor.batches.at(-1);
      if (batch !== undefined)
        lines.push(describeStep(step, batch, engine.stats().kvBlocks.cached));
      executor.releaseStep();
    }
    expect(errors).toEqual([]);
    expect(said).toEqual({
      A: [13, 14, 10, 50, 51, 52, -1],
      B: [31, 32, 33, 34, -1],
      'B′': [41, 42, 43, 44, -1],
    });
    expect(engine.stats()).toMatchObject({
      numPreemptions: 2,
      speculation: { proposedTokens: 2, acceptedTokens: 1 },
      prefixCache: { hitTokens: 4 + 16 + 12 },
    });
    await engine.close();
    // But for the padding of its columns.
    expect(readFileSync(DOCUMENT, 'utf8').replaceAll(/ +/g, ' ')).toContain(lines.join('\n'));
  });
});
