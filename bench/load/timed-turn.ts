// One turn over the public API, timed from when it was due.
import { Agent, request } from 'node:http';
import { createParser } from 'eventsource-parser';

export interface TimedTurn {
  readonly status: number;
  readonly finishReason: string | null;
  /** From due to the first token event; null when there was none. */
  readonly ttftMs: number | null;
  /** Between token events: what a reader sees, several tokens in one event are one. */
  readonly gapsMs: readonly number[];
  /** (last − first token event) ÷ (tokens − 1); null below two tokens. */
  readonly tpotMs: number | null;
  readonly doneMs: number;
  readonly outputTokens: number;
  readonly promptTokens: number;
}

const agent = new Agent({ keepAlive: true, maxSockets: 4096 });

/** Resolves in every case: a refusal or a broken connection (status 0) is a result. */
export function runTimedTurn(
  gateway: string,
  token: string,
  conversationId: string,
  body: object,
  dueAt: number,
): Promise<TimedTurn> {
  return new Promise((resolve) => {
    const tokenTimes: number[] = [];
    let finishReason: string | null = null;
    let usage = { prompt_tokens: 0, completion_tokens: 0 };
    const finish = (status: number): void => {
      const [first, last] = [tokenTimes[0], tokenTimes.at(-1)];
      const tokens = usage.completion_tokens;
      resolve({
        status,
        finishReason,
        ttftMs: first === undefined ? null : first - dueAt,
        gapsMs: tokenTimes.slice(1).map((time, index) => time - (tokenTimes[index] ?? NaN)),
        tpotMs:
          first === undefined || last === undefined || tokens < 2
            ? null
            : (last - first) / (tokens - 1),
        doneMs: performance.now() - dueAt,
        outputTokens: tokens,
        promptTokens: usage.prompt_tokens,
      });
    };
    const headers = {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      accept: 'text/event-stream',
    };
    const url = `${gateway}/v1/conversations/${conversationId}/turns`;
    const sent = request(url, { method: 'POST', agent, headers }, (response) => {
      const parser = createParser({
        onEvent: ({ event, data }) => {
          if (event === 'token') tokenTimes.push(performance.now());
          if (event !== 'done') return;
          const done = JSON.parse(data) as { finish_reason: string; usage: typeof usage };
          finishReason = done.finish_reason;
          usage = done.usage;
        },
      });
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => parser.feed(chunk));
      response.once('close', () => finish(response.statusCode ?? 0));
      response.on('error', () => undefined);
    });
    sent.on('error', () => finish(0));
    sent.end(JSON.stringify(body));
  });
}

export async function openConversation(gateway: string, token: string): Promise<string> {
  const created = await fetch(`${gateway}/v1/conversations`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: '{}',
  });
  const { conversation_id: id } = (await created.json()) as { conversation_id?: string };
  if (id === undefined) throw new Error(`no conversation: ${created.status}`);
  return id;
}
