// A remote pool over a real server: llama.cpp's, on the shipped weights.
import type { Ended } from '../../helpers/engine-runs.ts';
import type { ChatMessage, SequenceRequest, ServedModel } from '../../../contracts/engine.ts';
import { createRemoteModel } from '../../../inference/remote-pool.ts';
import { remotePool } from '../../helpers/remote-pools.ts';
import { runSequence, sequenceRequest } from '../../helpers/engine-runs.ts';
import { servedModelPath, startLlamaServer } from '../../helpers/llama-server.ts';
import type { LlamaServer } from '../../helpers/llama-server.ts';
import { waitFor } from '../../helpers/wait-for.ts';

const STORY: ChatMessage[] = [
  { role: 'system', content: 'You are a helpful assistant.' },
  { role: 'user', content: 'Write a short story about a fox and a crow.' },
];

let server: LlamaServer;
const open: ServedModel[] = [];

beforeAll(async () => {
  server = await startLlamaServer({ slots: 2, apiKey: 'a-key-of-the-test' });
}, 120_000);

afterEach(async () => {
  for (const model of open.splice(0)) await model.close();
});

afterAll(() => server.kill());

function modelOn(
  address: string,
  kind: 'llama.cpp' | 'openai' = 'llama.cpp',
  apiKey = 'a-key-of-the-test',
): ServedModel {
  const pool = remotePool({ base_url: `${address}/v1`, server: kind });
  const model = createRemoteModel({ pool, tokenizerPath: servedModelPath(), apiKey });
  open.push(model);
  return model;
}

function ask(model: ServedModel, more: Partial<SequenceRequest> = {}): SequenceRequest {
  const prompt = model.encodePrompt(STORY);
  return sequenceRequest(prompt, {
    stopTokenIds: model.stopTokenIds,
    maxTokens: 48,
    cacheScope: null,
    ...more,
  });
}

/** What the server itself says after these ids, asked in its own tongue. */
async function saysAfter({ address }: LlamaServer, prompt: readonly number[]): Promise<number[]> {
  const response = await fetch(`${address}/completion`, {
    method: 'POST',
    headers: { authorization: 'Bearer a-key-of-the-test' },
    body: JSON.stringify({
      prompt,
      n_predict: 28,
      temperature: 0,
      cache_prompt: false,
      return_tokens: true,
    }),
  });
  return ((await response.json()) as { tokens: number[] }).tokens;
}

function textOf(model: ServedModel, tokenIds: readonly number[]): string {
  const stream = model.createTextStream([]);
  return tokenIds.map((id) => stream.push(id)).join('') + stream.end();
}

describe('a remote pool on llama.cpp’s server, by token ids', () => {
  it('streams a reply whose ids are the vocabulary’s and whose end is the model’s', async () => {
    const model = modelOn(server.address);
    const prompt = model.encodePrompt([
      { role: 'user', content: 'What is the capital of France? Answer in one word.' },
    ]);
    const { tokens, finish } = await runSequence(
      model.engine,
      sequenceRequest(prompt, { stopTokenIds: model.stopTokenIds, maxTokens: 200 }),
    );
    expect(finish).toEqual({ reason: 'stop' });
    expect(textOf(model, tokens)).toContain('Paris');
    expect(tokens.some((id) => model.stopTokenIds.includes(id))).toBe(false);
  });

  it('goes on with what the server says after exactly the emitted ids', async () => {
    const model = modelOn(server.address);
    const whole = await runSequence(model.engine, ask(model));
    expect(whole.finish).toEqual({ reason: 'length' });
    expect(whole.tokens).toHaveLength(48);
    const begun = whole.tokens.slice(0, 20);
    const request = ask(model, { outputTokenIds: begun });
    const rest = await runSequence(model.engine, request);
    expect(rest.tokens).toEqual(await saysAfter(server, [...request.promptTokenIds, ...begun]));
    expect(rest.finish).toEqual({ reason: 'length' });
  });

  it('tells how much of a prompt the server had computed before', async () => {
    const model = modelOn(server.address);
    const reusable = (): SequenceRequest =>
      ask(model, { maxTokens: 4, cacheScope: { tenant: 'one', numSharedTokens: 0 } });
    await runSequence(model.engine, reusable());
    const numCached = await new Promise<number>((resolve) =>
      model.engine.submit(reusable(), {
        onTokens: () => undefined,
        onFinish: (_, numCachedTokens) => resolve(numCachedTokens),
      }),
    );
    const promptLength = model.encodePrompt(STORY).length;
    expect(numCached).toBeGreaterThan(promptLength / 2);
    expect(numCached).toBeLessThanOrEqual(promptLength);
    const { prefixCache } = model.engine.stats();
    expect(prefixCache).toEqual({ queriedTokens: 2 * promptLength, hitTokens: expect.any(Number) });
  });

  it('spells a reply of characters that span tokens', async () => {
    const model = modelOn(server.address);
    const line = '😀 😁 😂 🤣 😃 😄 😅 😆\n';
    const prompt = model.encodePrompt([{ role: 'user', content: `Repeat: ${line.repeat(3)}` }]);
    const begun = model.encodePrompt([{ role: 'user', content: line.repeat(4) }]);
    const { tokens } = await runSequence(
      model.engine,
      sequenceRequest([...prompt, ...begun], { maxTokens: 24 }),
    );
    const text = textOf(model, tokens);
    expect(text).toMatch(/\p{Extended_Pictographic}/u);
    expect(text).not.toContain('\uFFFD');
  });

  it('ends the server’s work when a sequence is aborted', async () => {
    const model = modelOn(server.address);
    const request = ask(model, { maxTokens: 1500, stopTokenIds: [] });
    const { finish } = await runSequence(model.engine, request, (count) => {
      if (count === 3) model.engine.abort(request.seqId);
    });
    expect(finish).toEqual({ reason: 'abort' });
    await waitFor('no slot is busy', async () => (await busySlots(server)) === 0);
  });

  it('draws the same reply from the same seed and another from another', async () => {
    const model = modelOn(server.address);
    const drawn = async (seed: number): Promise<string> => {
      const sampling = { temperature: 1.5, topP: 1, topK: 0, seed };
      const { tokens } = await runSequence(model.engine, ask(model, { sampling, maxTokens: 24 }));
      return tokens.join(' ');
    };
    const [first, again, other] = [await drawn(7), await drawn(7), await drawn(8)];
    expect(again).toBe(first);
    expect(other).not.toBe(first);
  });

  it('refuses for good what the server will not have: a wrong key', async () => {
    const model = modelOn(server.address, 'llama.cpp', 'not-the-key');
    const { finish } = await runSequence(model.engine, ask(model));
    expect(finish).toMatchObject({ reason: 'refused', error: { code: 'INVARIANT_VIOLATED' } });
  });

  it('refuses for good a prompt beyond the server’s context', async () => {
    const model = modelOn(server.address);
    const { finish } = await runSequence(
      model.engine,
      sequenceRequest(
        Array.from({ length: 3000 }, () => 100),
        { maxTokens: 1 },
      ),
    );
    expect(finish).toMatchObject({ reason: 'refused', error: { code: 'INVALID_REQUEST' } });
  });
});

describe('a remote pool on llama.cpp’s server, by text', () => {
  it('goes on with what the server says after the emitted text, and says no part of it again', async () => {
    const model = modelOn(server.address, 'openai');
    expect(model.continuation).toBe('text');
    const whole = await runSequence(model.engine, ask(model));
    expect(whole.finish).toEqual({ reason: 'length' });
    const begun = whole.tokens.slice(0, 20);
    const rest = await runSequence(model.engine, ask(model, { outputTokenIds: begun }));
    // Its template is the same as ours, so after the same text it has the same ids.
    const byTokens = modelOn(server.address);
    const prompt = byTokens.encodePrompt(STORY);
    expect(textOf(model, rest.tokens)).toBe(
      textOf(model, await saysAfter(server, [...prompt, ...begun])),
    );
  });
});

describe('a remote pool whose server is killed', () => {
  it('fails the sequence in mid-stream, waits for the server, and goes on at the next token', async () => {
    let own = await startLlamaServer();
    try {
      const model = modelOn(own.address);
      const cut = ask(model);
      const killing: Promise<void>[] = [];
      const first = await runSequence(model.engine, cut, (count) => {
        if (count === 10) killing.push(own.kill());
      });
      await Promise.all(killing);
      expect(first.finish).toMatchObject({ reason: 'error', error: { code: 'GENERATION_FAILED' } });
      expect(first.tokens.length).toBeLessThan(20);
      const waiting = runSequence(model.engine, ask(model, { outputTokenIds: first.tokens }));
      await waitFor('the sequence waits', () => model.engine.stats().waiting === 1);
      own = await startLlamaServer({ port: Number(new URL(own.address).port) });
      const rest: Ended = await waiting;
      expect(rest.tokens).toHaveLength(48 - first.tokens.length);
      const after = await saysAfter(own, [...cut.promptTokenIds, ...first.tokens]);
      expect(rest.tokens.slice(0, 28)).toEqual(after);
      expect(model.engine.stats()).toMatchObject({ waiting: 0, running: 0 });
    } finally {
      await own.kill();
    }
  }, 60_000);
});

async function busySlots({ address }: LlamaServer): Promise<number> {
  const response = await fetch(`${address}/slots`, {
    headers: { authorization: 'Bearer a-key-of-the-test' },
  });
  const slots = (await response.json()) as { is_processing: boolean }[];
  return slots.filter(({ is_processing }) => is_processing).length;
}
