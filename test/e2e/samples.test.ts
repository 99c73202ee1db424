// Several replies to one request on a whole system with a real model: each is what a turn of its own would have said,
// whatever is killed on the way.
import type { ReplyLogprobs } from '../../contracts/logprobs.ts';
import { startSystem } from '../helpers/system.ts';
import type { TestSystem } from '../helpers/system.ts';
import { call, newConversation, resumeTurn, takeTurn, textOf } from '../helpers/turn-client.ts';
import type { Caller, ReceivedEvent, TurnStream } from '../helpers/turn-client.ts';
import { waitFor } from '../helpers/wait-for.ts';

const TRIALS = Number(process.env['COLLOQUY_TRIALS'] ?? 2);
const NUM_TOKENS = 120;
const SEED = 7;
const ASKED = {
  content: 'Write a very long story about a lighthouse keeper.',
  temperature: 1,
  max_tokens: NUM_TOKENS,
};

let system: TestSystem;
/** What turns with the seeds SEED, SEED + 1 … say, each asked for alone. */
let alone: string[];

const caller = (): Caller => {
  const { gateway, tokens } = system.endpoints();
  return { gateway, token: tokens.paid };
};
const ofReply = (events: readonly ReceivedEvent[], index: number): string =>
  textOf(events.filter(({ data }) => data['index'] === index));
const textsOf = (events: readonly ReceivedEvent[], n: number): string[] =>
  Array.from({ length: n }, (_, index) => ofReply(events, index));
const dones = (events: readonly ReceivedEvent[]): ReceivedEvent['data'][] =>
  events.filter(({ event }) => event === 'done').map(({ data }) => data);

beforeAll(async () => {
  system = await startSystem({ workers: { default: 2 } });
  alone = [];
  for (const seed of [SEED, SEED + 1, SEED + 2]) {
    const stream = await takeTurn(caller(), await newConversation(caller()), { ...ASKED, seed });
    await stream.ended;
    alone.push(textOf(stream.events));
  }
}, 300_000);
afterAll(() => system.stop(), 60_000);

async function readyWorkers(): Promise<void> {
  const workers = (): Promise<boolean[]> =>
    Promise.all(
      system
        .processes()
        .filter(({ pool }) => pool === 'default')
        .map(({ metrics_url: url = '' }) =>
          fetch(url.replace('/metrics', '/readyz')).then(
            ({ status }) => status === 200,
            () => false,
          ),
        ),
    );
  await waitFor('both workers are ready', async () => {
    const ready = await workers();
    return ready.length === 2 && ready.every(Boolean);
  });
}

/** The pool's worker that runs sequences right now. */
async function servingWorker(): Promise<number> {
  const workers = system.processes().filter(({ pool }) => pool === 'default');
  return waitFor('a worker of the pool runs a sequence', async () => {
    for (const { metrics_url: url = '', pid } of workers) {
      const text = await fetch(url).then(
        (response) => response.text(),
        () => '',
      );
      if (/colloquy_engine_sequences\{state="running"[^}]*\} [1-9]/.test(text)) return pid;
    }
    return null;
  });
}

async function usedBlocks(): Promise<number> {
  const texts = await Promise.all(
    system
      .processes()
      .filter(({ pool }) => pool === 'default')
      .map(async ({ metrics_url: url = '' }) => (await fetch(url)).text()),
  );
  return texts
    .flatMap(
      (text) => /colloquy_engine_kv_blocks\{state="used"[^}]*\} (\d+)/.exec(text)?.[1] ?? '1',
    )
    .reduce((sum, each) => sum + Number(each), 0);
}

async function take(n: number): Promise<{ id: string; stream: TurnStream }> {
  await readyWorkers();
  const id = await newConversation(caller());
  return { id, stream: await takeTurn(caller(), id, { ...ASKED, n, seed: SEED }) };
}

describe('a turn with n', () => {
  it('gives the replies that n turns with following seeds give, and bills the prompt once', async () => {
    const { id, stream } = await take(3);
    await stream.ended;
    expect(textsOf(stream.events, 3)).toEqual(alone);
    const { json } = await call(caller(), 'GET', `/v1/conversations/${id}`);
    const turns = json['turns'] as { content: string; usage: Record<string, number> }[];
    expect(turns.slice(1).map(({ content }) => content)).toEqual(alone);
    const usages = dones(stream.events).map(({ usage }) => usage as Record<string, number>);
    expect(usages.map((usage) => usage['completion_tokens'])).toEqual(Array(3).fill(NUM_TOKENS));
    expect(usages.map((usage) => (usage['prompt_tokens'] ?? 0) > 0)).toEqual([true, false, false]);
  }, 60_000);

  it(
    'continues every reply token-exactly when the serving worker is killed',
    async () => {
      for (let trial = 0; trial < TRIALS; trial += 1) {
        const { id, stream } = await take(2);
        const at = 4 + Math.floor(Math.random() * 20);
        await stream.until(({ event, id: n }) => event === 'token' && n >= at);
        process.kill(await servingWorker(), 'SIGKILL');
        await stream.ended;
        expect(textsOf(stream.events, 2)).toEqual(alone.slice(0, 2));
        expect(stream.events.filter(({ event }) => event === 'retry')).toHaveLength(1);
        expect(dones(stream.events)).toMatchObject(
          [0, 1].map((index) => ({
            index,
            finish_reason: 'length',
            usage: { completion_tokens: NUM_TOKENS },
          })),
        );
        const { json } = await call(caller(), 'GET', `/v1/conversations/${id}`);
        expect(json['turns']).toHaveLength(3);
        const turnId = String(stream.events[0]?.data['turn_id']);
        const replay = await resumeTurn(caller(), id, turnId, at);
        await replay.ended;
        const before = stream.events.filter((event) => event.id <= at);
        expect(textsOf([...before, ...replay.events], 2)).toEqual(alone.slice(0, 2));
      }
    },
    60_000 + TRIALS * 30_000,
  );

  it('tells each token’s logprob beside the best ones, through a kill of the worker too', async () => {
    await readyWorkers();
    const body = { ...ASKED, n: 2, seed: SEED, temperature: 0, logprobs: true, top_logprobs: 2 };
    const stream = await takeTurn(caller(), await newConversation(caller()), body);
    await stream.until(({ event, id }) => event === 'token' && id >= 10);
    process.kill(await servingWorker(), 'SIGKILL');
    await stream.ended;
    const [one, other] = [0, 1].map((index) =>
      stream.events.flatMap(({ data }) =>
        data['index'] === index
          ? ((data['logprobs'] as ReplyLogprobs | undefined)?.content ?? [])
          : [],
      ),
    );
    expect(one).toHaveLength(NUM_TOKENS);
    expect(other).toEqual(one);
    const bytes = one?.flatMap((each) => each.bytes) ?? [];
    expect(Buffer.from(bytes).toString('utf8')).toBe(ofReply(stream.events, 0));
    for (const { token, logprob, top_logprobs: top } of one ?? []) {
      expect(top[0]).toMatchObject({ token, logprob });
      expect(top[1]?.logprob).toBeLessThanOrEqual(logprob);
      expect(logprob).toBeLessThanOrEqual(0);
    }
  }, 90_000);

  it('stores what was delivered of each when it is cancelled, and holds no block afterwards', async () => {
    const { id, stream } = await take(3);
    await stream.until(({ event, data }) => event === 'token' && data['index'] === 2);
    await call(caller(), 'POST', `/v1/conversations/${id}/cancel`);
    await stream.ended;
    expect(dones(stream.events)).toMatchObject(
      [0, 1, 2].map((index) => ({ index, finish_reason: 'cancelled' })),
    );
    const delivered = textsOf(stream.events, 3);
    expect(delivered.map((text, index) => alone[index]?.startsWith(text))).toEqual([
      true,
      true,
      true,
    ]);
    const { json } = await call(caller(), 'GET', `/v1/conversations/${id}`);
    const turns = json['turns'] as { content: string }[];
    expect(turns.slice(1).map(({ content }) => content)).toEqual(delivered);
    await waitFor('all blocks are free', async () => (await usedBlocks()) === 0);
  }, 60_000);
});
