// Whole turns on a remote pool: real Temporal, PostgreSQL and Valkey, and llama.cpp's own server, killed on the way.
import { Runtime } from '@temporalio/worker';
import type { NumberedEntry } from '../../../contracts/turn-events.ts';
import type { TurnInput } from '../../../contracts/turn-workflow.ts';
import type { RemotePool } from '../../../contracts/catalog.ts';
import { createRemoteModel } from '../../../inference/remote-pool.ts';
import { rows } from '../../../postgres/pool.ts';
import { findTurn } from '../../../postgres/turns.ts';
import { servedModelPath, startLlamaServer } from '../../helpers/llama-server.ts';
import type { LlamaServer } from '../../helpers/llama-server.ts';
import { remotePool } from '../../helpers/remote-pools.ts';
import { startTurnHarness } from '../../helpers/turn-harness.ts';
import type { TurnHarness } from '../../helpers/turn-harness.ts';

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
  work: () => Promise<void>,
  path = '/v1',
): Promise<void> {
  const pool = remotePool({ base_url: `${server.address}${path}`, server: kind });
  const model = createRemoteModel({ pool, tokenizerPath: servedModelPath(), apiKey: null });
  stopPool = await harness.startPool('mini', model);
  try {
    await work();
  } finally {
    await stopPool();
    await model.close();
  }
}

async function newTurn(): Promise<TurnInput> {
  const conversation = await harness.newConversation();
  return harness.accept(conversation, 'Write a short story about a fox and a crow.', {
    maxTokens: 60,
  });
}

async function run(turn: TurnInput): Promise<void> {
  await (await harness.start(turn)).result();
}

function tokensIn(entries: readonly NumberedEntry[]): { text: string; ids: number[] } {
  const data = entries.flatMap((entry) => (entry.type === 'token' ? [entry.data] : []));
  return { text: data.map(({ text }) => text).join(''), ids: data.flatMap(({ ids }) => ids) };
}

/** Kills the server after the turn's first tokens, and starts it again at its address once they are marked as cut. */
async function runAndKillServer(turn: TurnInput): Promise<void> {
  const running = run(turn);
  await harness.entry(turn.turnId, (entry) => entry.type === 'token' && entry.n > 4);
  await server.kill();
  await harness.entry(turn.turnId, (entry) => entry.type === 'retry');
  server = await startLlamaServer({ port: Number(new URL(server.address).port) });
  await running;
}

describe('a turn on a remote pool', () => {
  it.each([
    ['llama.cpp', 'tokens'],
    ['openai', 'text'],
  ] as const)(
    'on %s outlives its server, is told and stored as gone on with by %s, and says what it would have said',
    async (kind, continuation) => {
      await withPool(kind, async () => {
        const whole = await newTurn();
        await run(whole);
        const cut = await newTurn();
        await runAndKillServer(cut);

        const entries = await harness.entries(cut.turnId);
        const [expected, said] = [await harness.entries(whole.turnId), entries].map(tokensIn);
        expect(said).toEqual(expected);
        const retries = entries.filter(({ type }) => type === 'retry');
        expect(retries).toMatchObject([{ data: { attempt: 2, continuation } }]);
        expect(await findTurn(harness.db, cut.conversationId, cut.turnId)).toMatchObject({
          content: said?.text,
          finishReason: 'length',
          usage: { completion_tokens: 60, continuation },
        });
        const stored = await findTurn(harness.db, whole.conversationId, whole.turnId);
        expect(stored?.usage).not.toHaveProperty('continuation');
        const billed = await rows(harness.db, `select * from ledger where turn_id = $1`, [
          cut.turnId,
        ]);
        expect(billed).toMatchObject([{ completion_tokens: 60 }]);
      });
    },
    60_000,
  );

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
