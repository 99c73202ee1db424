// One turn through the whole service, its text and its times.
import { request } from 'node:http';
import { createParser } from 'eventsource-parser';
import type { RunningSystem } from '../running-system.ts';
import { openConversation } from '../load/timed-turn.ts';
import type { DirectReply } from './direct-engine.ts';

/** `wholeMs` is from the POST to `done`. @throws Error when it does not end with done */
export async function followTurn(
  { gateway, tokens }: RunningSystem,
  content: string,
  maxTokens: number,
): Promise<DirectReply> {
  const token = tokens['enterprise'] ?? '';
  const id = await openConversation(gateway, token);
  const begun = performance.now();
  return new Promise((resolve, reject) => {
    let text = '';
    let [first, last] = [NaN, NaN];
    const parser = createParser({
      onEvent: ({ event, data }) => {
        const now = performance.now();
        if (event === 'token') {
          text += (JSON.parse(data) as { text: string }).text;
          last = now;
          if (Number.isNaN(first)) first = now;
        } else if (event === 'done') {
          const { usage } = JSON.parse(data) as { usage: { completion_tokens: number } };
          const figures = { streamMs: last - first, wholeMs: now - begun };
          resolve({ text, tokens: usage.completion_tokens, ...figures });
        }
      },
    });
    const headers = {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      accept: 'text/event-stream',
    };
    const sent = request(
      `${gateway}/v1/conversations/${id}/turns`,
      { method: 'POST', headers },
      (response) => {
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => parser.feed(chunk));
        response.on('end', () => reject(new Error('the stream ended without done')));
      },
    );
    sent.on('error', reject);
    sent.end(JSON.stringify({ role: 'user', content, max_tokens: maxTokens, temperature: 0 }));
  });
}
