// Whole turns on a remote pool: real Temporal, PostgreSQL and Valkey, and llama.cpp's own server, killed on the way.
import { Runtime } from '@temporalio/worker';
import { join } from 'node:path';
import { loadCatalog } from '../../../contracts/catalog.ts';
import type { ServedModel } from '../../../contracts/engine.ts';
import type { NumberedEntry } from '../../../contracts/turn-events.ts';
import type { TurnInput } from '../../../contracts/turn-workflow.ts';
import type { RemotePool } from '../../../contracts/catalog.ts';
import { createRemoteModel } from '../../../inference/remote-pool.ts';
import { rows } from '../../../postgres/pool.ts';
import { findTurn } from '../../../postgres/turns.ts';
import { runSequence, sequenceRequest } from '../../helpers/engine-runs.ts';
import { servedModelPath, startLlamaServer } from '../../helpers/llama-server.ts';
import type { LlamaServer } from '../../helpers/llama-server.ts';
import { remotePool } from '../../helpers/remote-pools.ts';
import { startTurnHarness } from '../../helpers/turn-harness.ts';
import type { TurnHarness } from '../../helpers/turn-harness.ts';
import { ROOT } from '../../helpers/test-home.ts';

const ASKED = { role: 'user' as const, content: 'Write a short story about a fox and a crow.' };
const SYSTEM = loadCatalog(join(ROOT, 'config', 'catalog.yaml')).system_prompt;

let harness: TurnHarness;
let server: LlamaServer;
let stopPool: () => Promise<void>;

beforeAll(async () => {
  [harness, server] = await Promise.all([startTurnHarness(), startLlamaServer()]);
}, 120_000);

afterAll(async () => {
  await Promise.all([harness.close(), server.kill()]);
  await Runtime.instance().shutdown();
}, 30_000);

async function withPool(
  kind: RemotePool['server'],
  work: (model: ServedModel) => Promise<void>,
  path = '/v1',
): Promise<void> {
  const pool = remotePool({ base_url: `${server.address}${path}`, server: kind });
  const model = createRemoteModel({ pool, tokenizerPath: servedModelPath(), apiKey: null });
  stopPool = await harness.startPool('mini', model);
  try {
    await work(model);
  } finally {
    await stopPool();
    await model.close();
  }
}

async function newTurn(): Promise<TurnInput> {
  const conversation = await harness.newConversation();
  return harness.accept(conversation, ASKED.content, { maxTokens: 60 });
}

async function run(turn: TurnInput): Promise<void> {
  await (await harness.start(turn)).result();
}

function tokensIn(entries: readonly NumberedEntry[]): { text: string; ids: number[] } {
  const data = entries.flatMap((entry) => (entry.type === 'token' ? [entry.data] : []));
  return { text: data.map(({ text }) => text).join(''), ids: data.flatMap(({ ids }) => ids) };
}

function beforeRetry(entries: readonly NumberedEntry[]): readonly NumberedEntry[] {
  return entries.slice(
    0,
    entries.findIndex(({ type }) => type === 'retry'),
  );
}

/** Kills the server after the turn's first tokens, and starts it again at its address once they are marked as cut. */
async function runAndKillServer(turn: TurnInput): Promise<void> {
  const running = run(turn);
  // An end that comes too soon must fail the test, not hang it.
  const before = async (isIt: (entry: NumberedEntry) => boolean): Promise<void> => {
    const found = await harness.entry(turn.turnId, (entry) => isIt(entry) || entry.type === 'end');
    expect(found.type).not.toBe('end');
  };
  await before((entry) => entry.type === 'token' && entry.n > 4);
  await server.kill();
  await before((entry) => entry.type === 'retry');
  server = await startLlamaServer({ port: Number(new URL(server.address).port) });
  await running;
}

describe('a turn on a remote pool', () => {
  it.each([
    ['llama.cpp', 'tokens'],
    ['openai', 'text'],
  ] as const)(
    'on %s outlives its server, and is told and stored as gone on with by %s',
    async (kind, continuation) => {
      await withPool(kind, async (model) => {
        const turn = await newTurn();
        await runAndKillServer(turn);

        const entries = await harness.entries(turn.turnId);
        const [said, before] = [entries, beforeRetry(entries)].map(tokensIn);
        expect(said?.text.startsWith(before?.text ?? '?')).toBe(true);
        expect(said?.ids.slice(0, before?.ids.length)).toEqual(before?.ids);
        expect(before?.ids.length).toBeLessThan(60);
        expect(said?.ids).toHaveLength(60);
        const retries = entries.filter(({ type }) => type === 'retry');
        expect(retries).toMatchObject([{ data: { attempt: 2, continuation } }]);
        expect(await findTurn(harness.db, turn.conversationId, turn.turnId)).toMatchObject({
          content: said?.text,
          finishReason: 'length',
          usage: { completion_tokens: 60, continuation },
        });
        const billed = await rows(harness.db, `select * from ledger where turn_id = $1`, [
          turn.turnId,
        ]);
        expect(billed).toMatchObject([{ completion_tokens: 60 }]);

        // The server says the same after the same beginning, whoever asks.
        const { tokens } = await runSequence(
          model.engine,
          sequenceRequest(model.encodePrompt([{ role: 'system', content: SYSTEM }, ASKED]), {
            outputTokenIds: before?.ids ?? [],
            maxTokens: 60,
            cacheScope: null,
          }),
        );
        expect(said?.ids.slice(before?.ids.length)).toEqual(tokens);
      });
    },
    60_000,
  );

  it('that was not cut says nothing of a continuation', async () => {
    await withPool('llama.cpp', async () => {
      const turn = await newTurn();
      await run(turn);
      const stored = await findTurn(harness.db, turn.conversationId, turn.turnId);
      expect(stored).toMatchObject({ finishReason: 'length' });
      expect(stored?.usage).not.toHaveProperty('continuation');
    });
  });

  it('ends with an error after one attempt when the catalogue names a wrong address', async () => {
    await withPool(
      'llama.cpp',
      async () => {
        const turn = await newTurn();
        await run(turn);
        expect(await harness.entries(turn.turnId)).toMatchObject([
          { type: 'open' },
          { type: 'error', data: { code: 'invariant_violated' } },
          { type: 'end', data: { finish_reason: 'error' } },
        ]);
      },
      '/nowhere',
    );
  });
});
