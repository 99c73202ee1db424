// Kill any process in mid-turn: the reader's text goes on exactly where it stopped, and the turn is stored once.
import type { ProcessEntry } from '../../runtime/run-files.ts';
import { startSystem } from '../helpers/system.ts';
import type { TestSystem } from '../helpers/system.ts';
import { call, newConversation, resumeTurn, takeTurn, textOf } from '../helpers/turn-client.ts';
import type { Caller, ReceivedEvent, TurnStream } from '../helpers/turn-client.ts';
import { waitFor } from '../helpers/wait-for.ts';

/** Trials of each kill; the bars are measured with 20. */
const TRIALS = Number(process.env['COLLOQUY_TRIALS'] ?? 2);
const NUM_TOKENS = 200;
const BODIES = [
  { content: 'Write a very long story about a lighthouse keeper.', temperature: 0 },
  { content: 'Write a very long story about a lighthouse keeper.', temperature: 1, seed: 7 },
].map((body) => ({ ...body, max_tokens: NUM_TOKENS }));

let system: TestSystem;
let unkilled: string[];

const callers = (): Caller[] => {
  const { gateways, gateway, tokens } = system.endpoints();
  return (gateways ?? [gateway]).map((each) => ({ gateway: each, token: tokens.paid }));
};
const caller = (): Caller => callers()[0] ?? { gateway: '', token: '' };

beforeAll(async () => {
  system = await startSystem({ gateways: 2, workers: { default: 2 } });
  unkilled = [];
  for (const body of BODIES) {
    const stream = await takeTurn(caller(), await newConversation(caller()), body);
    await stream.ended;
    unkilled.push(textOf(stream.events));
  }
}, 300_000);
afterAll(() => system.stop(), 60_000);

async function everyProcessReady(): Promise<void> {
  await waitFor('every process is ready', async () => {
    const urls = system
      .processes()
      .flatMap((each) =>
        each.metrics_url === undefined ? [] : [each.metrics_url.replace('/metrics', '/readyz')],
      );
    const ready = await Promise.all(
      urls
        .filter((url) => !url.includes('temporal'))
        .map((url) =>
          fetch(url).then(
            (response) => response.status !== 503,
            () => false,
          ),
        ),
    );
    return ready.every(Boolean);
  });
}

/** The pool's worker that runs a sequence right now. */
async function servingWorker(): Promise<ProcessEntry> {
  const workers = system.processes().filter((each) => each.pool === 'default');
  return waitFor('a worker of the pool runs a sequence', async () => {
    for (const worker of workers) {
      const text = await fetch(worker.metrics_url ?? '').then(
        (response) => response.text(),
        () => '',
      );
      if (/colloquy_engine_sequences\{state="running"[^}]*\} [1-9]/.test(text)) return worker;
    }
    return null;
  });
}

async function started(
  trial: number,
): Promise<{ conversationId: string; stream: TurnStream; turnId: string; expected: string }> {
  await everyProcessReady();
  const which = trial % BODIES.length;
  const conversationId = await newConversation(caller());
  const stream = await takeTurn(caller(), conversationId, BODIES[which] ?? {});
  const open = await stream.until(({ event }) => event === 'open');
  // A random token of the first third, so that there is a rest to be continued.
  const at = 2 + Math.floor(Math.random() * 12);
  await stream.until(({ event, id }) => event === 'token' && id >= at);
  return {
    conversationId,
    stream,
    turnId: String(open?.data['turn_id']),
    expected: unkilled[which] ?? '',
  };
}

async function expectWhole(
  events: readonly ReceivedEvent[],
  conversationId: string,
  expected: string,
): Promise<void> {
  expect(textOf(events)).toBe(expected);
  expect(events.filter(({ event }) => event === 'done')).toHaveLength(1);
  const ids = events.map(({ id }) => id);
  expect(ids.every((id, index) => index === 0 || id > (ids[index - 1] ?? 0))).toBe(true);
  const { json } = await call(caller(), 'GET', `/v1/conversations/${conversationId}`);
  const turns = json['turns'] as { role: string; content: string; finish_reason: string | null }[];
  expect(turns.map(({ role }) => role)).toEqual(['user', 'assistant']);
  expect(turns[1]).toMatchObject({
    content: expected,
    finish_reason: 'length',
    usage: { completion_tokens: NUM_TOKENS },
  });
}

describe('failover', () => {
  it(
    'continues token-exactly on another worker when the serving one is killed',
    async () => {
      for (let trial = 0; trial < TRIALS; trial += 1) {
        const { conversationId, stream, expected } = await started(trial);
        process.kill((await servingWorker()).pid, 'SIGKILL');
        await stream.ended;
        await expectWhole(stream.events, conversationId, expected);
        expect(stream.events.filter(({ event }) => event === 'retry')).toHaveLength(1);
        expect(stream.events.map(({ id }) => id)).toEqual(
          stream.events.map((_, index) => index + 1),
        );
      }
    },
    60_000 + TRIALS * 30_000,
  );

  it(
    'lets the reader go on at another gateway when its own is killed',
    async () => {
      for (let trial = 0; trial < TRIALS; trial += 1) {
        const { conversationId, stream, turnId, expected } = await started(trial);
        const [own] = system.processes().filter(({ kind }) => kind === 'gateway');
        process.kill(own?.pid ?? 0, 'SIGKILL');
        await stream.ended;
        const other = callers()[1] ?? caller();
        const after = stream.events.at(-1)?.id ?? 0;
        const rest = await resumeTurn(other, conversationId, turnId, after);
        await rest.ended;
        await everyProcessReady();
        await expectWhole([...stream.events, ...rest.events], conversationId, expected);
      }
    },
    60_000 + TRIALS * 30_000,
  );

  it('lets readers go on elsewhere when a gateway drains: the stream ends without done, nothing is lost', async () => {
    const { conversationId, stream, turnId, expected } = await started(0);
    const [own] = system.processes().filter(({ kind }) => kind === 'gateway');
    process.kill(own?.pid ?? 0, 'SIGTERM');
    await stream.ended;
    expect(stream.events.some(({ event }) => event === 'done')).toBe(false);
    const after = stream.events.at(-1)?.id ?? 0;
    const rest = await resumeTurn(callers()[1] ?? caller(), conversationId, turnId, after);
    await rest.ended;
    await everyProcessReady();
    await expectWhole([...stream.events, ...rest.events], conversationId, expected);
  }, 90_000);

  it(
    'does not show the reader that a turn worker was killed',
    async () => {
      for (let trial = 0; trial < TRIALS; trial += 1) {
        const { conversationId, stream, expected } = await started(trial);
        const [worker] = system.processes().filter(({ kind }) => kind === 'turn-worker');
        process.kill(worker?.pid ?? 0, 'SIGKILL');
        await stream.ended;
        await expectWhole(stream.events, conversationId, expected);
      }
    },
    60_000 + TRIALS * 30_000,
  );
});
