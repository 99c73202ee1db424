// npm run bench:prompts [-- --turns 200 --reply-tokens 24 --readings 200]: one long conversation on the running system that
// COLLOQUY_HOME describes: what its prompts cost at turn 200 against turn 20, whether each can be shown again as the engine
// got it, and what the model still knows of facts that were planted on the way. Takes a minute or two a hundred turns.
import { parseArgs } from 'node:util';
import { Client, Connection } from '@temporalio/client';
import { Client as PgClient } from 'pg';
import { loadCatalog } from '../../contracts/catalog.ts';
import { projectPath } from '../../process/paths.ts';
import { runningSystem } from '../running-system.ts';
import { quantile, summary } from '../statistics.ts';
import { databaseTimes } from './database-time.ts';
import { haveConversation } from './long-conversation.ts';
import type { LongTurn } from './long-conversation.ts';
import { recallRows } from './recall.ts';

const report = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

/** Turns around one: its window of recent turns is anywhere in its step, so one alone says little. */
const AROUND = 4;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      turns: { type: 'string', default: '200' },
      'reply-tokens': { type: 'string', default: '24' },
      readings: { type: 'string', default: '200' },
    },
  });
  const [numTurns, maxTokens] = [Number(values.turns), Number(values['reply-tokens'])];
  const system = runningSystem();
  const catalog = loadCatalog(projectPath('config', 'catalog.yaml'));
  const connection = await Connection.connect({ address: system.temporal });
  const db = new PgClient({ connectionString: system.postgres });
  await db.connect();
  const talk = await haveConversation(
    system,
    new Client({ connection }),
    db,
    numTurns,
    maxTokens,
    catalog.prompt.window_tokens,
  );
  const { turns, conversationId } = talk;
  const around = (at: number): LongTurn[] =>
    turns.filter(({ turn }) => turn > at - 2 * AROUND && turn <= at);
  const [early, late] = [around(20), around(numTurns)];
  const times = await databaseTimes(
    system.postgres,
    catalog,
    conversationId,
    [...early, ...late],
    Number(values.readings),
  );
  const databaseMs = (of: readonly LongTurn[]): number[] =>
    of.flatMap(({ turn }) => times.get(turn) ?? []);
  const compare = (name: string, valuesOf: (of: readonly LongTurn[]) => number[]): void => {
    const [one, other] = [valuesOf(early), valuesOf(late)];
    const ratio = Math.round((quantile(other, 0.5) / quantile(one, 0.5)) * 100) / 100;
    report({ bench: 'prompts', measure: name, early: summary(one), late: summary(other), ratio });
  };
  compare('prompt tokens', (of) => of.map(({ promptTokens }) => promptTokens));
  compare('ttft ms', (of) => of.map(({ ttftMs }) => ttftMs));
  compare('database ms', databaseMs);
  const prompts = turns.slice(1);
  const sumOf = (valueOf: (turn: LongTurn) => number): number =>
    prompts.reduce((sum, each) => sum + valueOf(each), 0);
  report({
    bench: 'prompts',
    measure: 'prefix cache',
    cachedShare:
      Math.round((sumOf((each) => each.cachedTokens) / sumOf((each) => each.promptTokens)) * 1000) /
      1000,
    promptTokensEvery20: turns
      .filter(({ turn }) => turn % 20 === 0)
      .map(({ promptTokens }) => promptTokens),
    turnsComputedAnew: prompts.filter((each) => each.cachedTokens < each.promptTokens / 2).length,
  });
  report({
    bench: 'prompts',
    measure: 'shown as the engine got it',
    ...(await proofs(system, conversationId, turns)),
  });
  for (const row of await recallRows(system.postgres, system.home, catalog, talk))
    report({ bench: 'prompts', measure: 'recall', ...row });
  await db.end();
  await connection.close();
  process.exit(0);
}

async function proofs(
  { gateway, tokens }: ReturnType<typeof runningSystem>,
  conversationId: string,
  turns: readonly LongTurn[],
): Promise<object> {
  let numEqual = 0;
  for (const { turnId } of turns) {
    const answer = await fetch(
      `${gateway}/v1/conversations/${conversationId}/turns/${turnId}/prompt`,
      {
        headers: { authorization: `Bearer ${tokens['enterprise'] ?? ''}` },
      },
    );
    const { matches_engine: matches } = (await answer.json()) as { matches_engine?: boolean };
    if (matches === true) numEqual += 1;
  }
  return { turns: turns.length, equal: numEqual };
}

void main();
