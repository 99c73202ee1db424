import { remoteModel } from '../../../inference/remote-pool.ts';
import type { RemotePool } from '../../../contracts/catalog.ts';
import type { ServedModel } from '../../../contracts/engine.ts';
import { byteVocabulary, END_ID, START_ID, THE_ID } from '../../helpers/byte-vocabulary.ts';
import { runSequence, sequenceRequest } from '../../helpers/engine-runs.ts';
import { remotePool } from '../../helpers/remote-pools.ts';
import { openStream, scriptedServer, status, streamOf } from '../../helpers/scripted-server.ts';
import type { Answer, ScriptedServer } from '../../helpers/scripted-server.ts';

let server: ScriptedServer;
let model: ServedModel;

afterEach(async () => {
  await model.close();
  await server.close();
});

async function serve(
  kind: RemotePool['server'],
  apiKey: string | null,
  ...answers: readonly Answer[]
): Promise<void> {
  server = await scriptedServer(...answers);
  const pool = remotePool({
    base_url: `${server.address}/v1/`,
    server: kind,
    timeouts: { unavailable_ms: 2000, between_tokens_ms: 100 },
  });
  model = remoteModel({ pool, apiKey }, byteVocabulary());
}

const choice = (more: object): object => ({ choices: [{ index: 0, ...more }] });

describe('a remote pool', () => {
  it('speaks token ids with vLLM: prompt and stop ids out, reply and usage in', async () => {
    await serve(
      'vllm',
      'the-key',
      streamOf(
        choice({ text: 'the', token_ids: [THE_ID], prompt_token_ids: [1] }),
        choice({ text: '', token_ids: [0xc3], finish_reason: null }),
        choice({ text: 'é', token_ids: [0xa9] }),
        choice({ text: '', token_ids: [END_ID], finish_reason: 'stop' }),
        { choices: [], usage: { prompt_tokens: 3, prompt_tokens_details: { cached_tokens: 2 } } },
        '[DONE]',
      ),
    );
    const promptTokenIds = model.encodePrompt([{ role: 'user', content: 'Hi' }]);
    expect(promptTokenIds[0]).toBe(START_ID);
    const request = sequenceRequest(promptTokenIds, { stopTokenIds: model.stopTokenIds });
    const { tokens, finish } = await runSequence(model.engine, request);
    expect(tokens).toEqual([THE_ID, 0xc3, 0xa9]);
    expect(finish).toEqual({ reason: 'stop' });
    expect(model.engine.stats().prefixCache).toEqual({ queriedTokens: 3, hitTokens: 2 });
    const [sent] = server.requests;
    expect(sent?.path).toBe('/v1/completions');
    expect(sent?.headers.authorization).toBe('Bearer the-key');
    expect(JSON.parse(sent?.body ?? '')).toMatchObject({
      prompt: promptTokenIds,
      stop_token_ids: [END_ID],
    });
  });

  it('speaks messages with any other server, and goes on from a reply’s text', async () => {
    await serve(
      'openai',
      null,
      streamOf(
        choice({ delta: { content: 'lo.' } }),
        choice({ delta: {}, finish_reason: 'stop' }),
        '[DONE]',
      ),
    );
    expect(model).toMatchObject({ continuation: 'text', stopTokenIds: [] });
    const prompt = model.encodePrompt([{ role: 'user', content: 'Greet me.' }]);
    const request = sequenceRequest(prompt, { outputTokenIds: [...Buffer.from('Hel')] });
    const { tokens, finish } = await runSequence(model.engine, request);
    const text = model.createTextStream([]);
    expect(tokens.map((id) => text.push(id)).join('')).toBe('lo.');
    expect(finish).toEqual({ reason: 'stop' });
    const [sent] = server.requests;
    expect(sent?.path).toBe('/v1/chat/completions');
    expect(sent?.headers.authorization).toBeUndefined();
    expect(JSON.parse(sent?.body ?? '')).toMatchObject({
      messages: [
        { role: 'user', content: 'Greet me.' },
        { role: 'assistant', content: 'Hel' },
      ],
    });
  });

  it('asks again when the server is busy, and goes on as if it had not been', async () => {
    await serve(
      'vllm',
      null,
      status(503),
      status(429),
      streamOf(choice({ text: 'a', token_ids: [97], finish_reason: 'length' })),
    );
    const { tokens, finish } = await runSequence(model.engine, sequenceRequest([1]));
    expect({ tokens, finish }).toEqual({ tokens: [97], finish: { reason: 'length' } });
    expect(server.requests).toHaveLength(3);
  });

  it.each([
    ['a malformed chunk', ['{"choices":[{"text":'], 'error', 'GENERATION_FAILED'],
    ['a stream without an end', ['[DONE]'], 'error', 'GENERATION_FAILED'],
    ['an error in mid-stream', [{ error: { message: 'SECRET' } }], 'error', 'GENERATION_FAILED'],
    ['a server that tells no ids', [choice({ text: 'b' })], 'refused', 'INVARIANT_VIOLATED'],
  ])('ends on %s, after the tokens that came before it', async (_, events, reason, code) => {
    await serve('vllm', null, streamOf(choice({ text: 'a', token_ids: [97] }), ...events));
    const { tokens, finish } = await runSequence(model.engine, sequenceRequest([1]));
    expect(tokens).toEqual([97]);
    expect(finish).toMatchObject({ reason, error: { code } });
    expect(JSON.stringify(finish)).not.toContain('SECRET');
  });

  it('ends on a server that falls silent, and closes its connection', async () => {
    await serve('vllm', null, (response) => {
      openStream(response).write(
        `data: ${JSON.stringify(choice({ text: 'a', token_ids: [97] }))}\n\n`,
      );
    });
    const { tokens, finish } = await runSequence(model.engine, sequenceRequest([1]));
    expect(tokens).toEqual([97]);
    expect(finish).toMatchObject({ reason: 'refused', error: { code: 'GENERATION_TIMEOUT' } });
    await server.requests[0]?.closed;
  });

  it('closes the connection of an aborted sequence', async () => {
    await serve('vllm', null, (response) => {
      openStream(response).write(
        `data: ${JSON.stringify(choice({ text: 'a', token_ids: [97] }))}\n\n`,
      );
    });
    const request = sequenceRequest([1]);
    const { finish } = await runSequence(model.engine, request, () =>
      model.engine.abort(request.seqId),
    );
    expect(finish).toEqual({ reason: 'abort' });
    await server.requests[0]?.closed;
  });
});
