// npm run bench:prompts [-- --turns 200 --reply-tokens 64 --readings 200]: conversations of 20 and of 200 turns on the running
// system that COLLOQUY_HOME describes: what the prompts of their last eight turns cost, whether each can be shown again as the
// engine got it, and what the model still knows of facts that were planted on the way.
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Client, Connection } from '@temporalio/client';
import { Client as PgClient } from 'pg';
import { loadCatalog } from '../../contracts/catalog.ts';
import { createPromptEncoder } from '../../inference/prompt-encoder.ts';
import { openVocabulary } from '../../inference/remote/vocabulary.ts';
import { projectPath } from '../../process/paths.ts';
import { runningSystem } from '../running-system.ts';
import { quantile, summary } from '../statistics.ts';
import { databaseTimes } from './database-time.ts';
import { haveConversation } from './long-conversation.ts';
import type { LongConversation } from './long-conversation.ts';
import { recallRows } from './recall.ts';

const report = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

/** Turns that are compared: more than one step of the window, since a turn may be anywhere in its step. */
const NUM_TAKEN = 8;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      turns: { type: 'string', default: '200' },
      'reply-tokens': { type: 'string', default: '64' },
      readings: { type: 'string', default: '200' },
    },
  });
  const [numTurns, maxTokens] = [Number(values.turns), Number(values['reply-tokens'])];
  const system = runningSystem();
  const catalog = loadCatalog(projectPath('config', 'catalog.yaml'));
  const connection = await Connection.connect({ address: system.temporal });
  const db = new PgClient({ connectionString: system.postgres });
  await db.connect();
  const temporal = new Client({ connection });
  const pool = catalog.pools['default'];
  if (pool?.kind !== 'native') throw new Error('the pool default is no native one');
  const vocabulary = openVocabulary(join(system.home, pool.weights));
  const { countTokens } = createPromptEncoder(vocabulary, false);
  const have = (turns: number): Promise<LongConversation> =>
    haveConversation(system, temporal, db, {
      numTurns: turns,
      numTaken: NUM_TAKEN,
      maxTokens,
      windowTokens: catalog.prompt.window_tokens,
      countTokens,
    });
  const [early, late] = [await have(20), await have(numTurns)];
  const times = await databaseTimes(
    system.postgres,
    catalog,
    [early, late],
    Number(values.readings),
  );
  const compare = (name: string, valuesOf: (of: LongConversation) => number[]): void => {
    const [one, other] = [valuesOf(early), valuesOf(late)];
    const ratio = Math.round((quantile(other, 0.5) / quantile(one, 0.5)) * 100) / 100;
    report({ bench: 'prompts', measure: name, early: summary(one), late: summary(other), ratio });
  };
  compare('prompt tokens', ({ turns }) => turns.map(({ promptTokens }) => promptTokens));
  compare('ttft ms', ({ turns }) => turns.map(({ ttftMs }) => ttftMs));
  compare('database ms', ({ turns }) => turns.flatMap(({ turnId }) => times.get(turnId) ?? []));
  for (const { turns } of [early, late])
    report({
      bench: 'prompts',
      measure: 'prefix cache',
      turns: turns.map(({ turn, promptTokens, cachedTokens, ttftMs }) => ({
        ...{ turn, promptTokens, cachedTokens },
        ttftMs: Math.round(ttftMs),
      })),
    });
  report({
    bench: 'prompts',
    measure: 'shown as the engine got it',
    ...(await proofs(system, [early, late])),
  });
  for (const row of await recallRows(system.postgres, system.home, catalog, late))
    report({ bench: 'prompts', measure: 'recall', ...row });
  await db.end();
  await connection.close();
  process.exit(0);
}

async function proofs(
  { gateway, tokens }: ReturnType<typeof runningSystem>,
  conversations: readonly LongConversation[],
): Promise<object> {
  let [numTurns, numEqual] = [0, 0];
  for (const { conversationId, turns } of conversations)
    for (const { turnId } of turns) {
      const answer = await fetch(
        `${gateway}/v1/conversations/${conversationId}/turns/${turnId}/prompt`,
        {
          headers: { authorization: `Bearer ${tokens['enterprise'] ?? ''}` },
        },
      );
      const { matches_engine: matches } = (await answer.json()) as { matches_engine?: boolean };
      numTurns += 1;
      if (matches === true) numEqual += 1;
    }
  return { turns: numTurns, equal: numEqual };
}

void main();
