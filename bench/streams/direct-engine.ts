// Process: the engine alone, with the settings of a native pool of the catalogue, its text stream included. Each message is a
// user's text; the answer says how long the reply took and what it was.
import { join } from 'node:path';
import { loadCatalog } from '../../contracts/catalog.ts';
import { createServedModel } from '../../inference/served-model.ts';
import { projectPath } from '../../process/paths.ts';

export interface DirectTask {
  readonly content: string;
  readonly maxTokens: number;
}

export interface DirectReply {
  readonly text: string;
  readonly tokens: number;
  /** First token → last token, ms. */
  readonly streamMs: number;
  /** Submit → finish, ms. */
  readonly wholeMs: number;
}

const [home = '', poolName = ''] = process.argv.slice(2);
const catalog = loadCatalog(projectPath('config', 'catalog.yaml'));
const pool = catalog.pools[poolName];
if (pool?.kind !== 'native') throw new Error(`${poolName} is no native pool`);
const model = createServedModel({
  modelPath: join(home, pool.weights),
  kvPoolBytes: pool.kv_pool_bytes,
  swapBytes: pool.swap_bytes,
  threads: 0,
  contextLength: pool.context_length,
  maxNumBatchedTokens: pool.max_num_batched_tokens,
  maxNumSeqs: pool.max_num_seqs,
  maxDraftTokens: pool.max_draft_tokens,
  onListenerError: (error) => {
    throw error;
  },
});

let numReplies = 0;

function reply({ content, maxTokens }: DirectTask): Promise<DirectReply> {
  const begun = performance.now();
  const text = model.createTextStream([]);
  let said = '';
  let tokens = 0;
  let [first, last] = [NaN, NaN];
  return new Promise((resolve) => {
    model.engine.submit(
      {
        seqId: `direct-${numReplies++}`,
        promptTokenIds: model.encodePrompt([
          { role: 'system', content: catalog.system_prompt },
          { role: 'user', content },
        ]),
        outputTokenIds: [],
        maxTokens,
        sampling: { temperature: 0, topP: 1, topK: 0, seed: 0 },
        stopTokenIds: model.stopTokenIds,
        priority: 1,
        cacheScope: null,
      },
      {
        onTokens: (ids) => {
          for (const id of ids) said += text.push(id);
          tokens += ids.length;
          last = performance.now();
          if (Number.isNaN(first)) first = last;
        },
        onFinish: () =>
          resolve({
            text: said + text.end(),
            tokens,
            streamMs: last - first,
            wholeMs: performance.now() - begun,
          }),
      },
    );
  });
}

process.on('message', (task: DirectTask) => void reply(task).then((said) => process.send?.(said)));
process.once('disconnect', () => process.exit(0));
process.send?.('ready');
