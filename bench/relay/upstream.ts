// Process: the one upstream of every gateway. Speaks OpenAI's chat completions: `max_tokens` chunks of a word each, one
// every so many milliseconds (process.argv[2]), or a whole reply at once. Sends its port when it listens.
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

const intervalMs = Number(process.argv[2] ?? 20);
/**
 * A token each in our vocabulary as well, each with `and` in it once, which nothing around the text has; and none like the one
 * before: some gateways end a stream that repeats itself.
 */
const WORDS = [' and', ' hand', ' land', ' stand', ' demand', ' island'] as const;
const tokenOf = (index: number): string => WORDS[index % WORDS.length] ?? '';

interface Asked {
  readonly stream?: boolean;
  readonly max_tokens?: number;
  readonly max_completion_tokens?: number;
}

const envelope = (object: string): object => ({
  id: 'chatcmpl-1',
  object,
  created: 1_700_000_000,
  model: 'relay',
});

function usage(tokens: number): object {
  return { prompt_tokens: 10, completion_tokens: tokens, total_tokens: 10 + tokens };
}

function streamTo(response: ServerResponse, tokens: number): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const send = (delta: object, finish: string | null, more: object = {}): void => {
    const choices = [{ index: 0, delta, finish_reason: finish }];
    const chunk = { ...envelope('chat.completion.chunk'), choices, ...more };
    response.write(`data: ${JSON.stringify(chunk)}\n\n`);
  };
  const begun = performance.now();
  let sent = 0;
  const next = (): void => {
    if (response.destroyed) return;
    for (; sent < tokens && performance.now() - begun >= sent * intervalMs; sent += 1)
      send(
        sent === 0 ? { role: 'assistant', content: tokenOf(sent) } : { content: tokenOf(sent) },
        null,
      );
    if (sent < tokens) {
      setTimeout(next, begun + sent * intervalMs - performance.now());
      return;
    }
    send({}, 'stop', { usage: usage(tokens) });
    response.end('data: [DONE]\n\n');
  };
  next();
}

function answer(asked: Asked, response: ServerResponse): void {
  const tokens = asked.max_tokens ?? asked.max_completion_tokens ?? 16;
  if (asked.stream === true) {
    streamTo(response, tokens);
    return;
  }
  const message = {
    role: 'assistant',
    content: Array.from({ length: tokens }, (_, index) => tokenOf(index)).join(''),
  };
  const choices = [{ index: 0, message, finish_reason: 'stop' }];
  const body = { ...envelope('chat.completion'), choices, usage: usage(tokens) };
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

const server = createServer((request: IncomingMessage, response: ServerResponse) => {
  const parts: Buffer[] = [];
  request.on('data', (part: Buffer) => parts.push(part));
  request.once('end', () => {
    const text = Buffer.concat(parts).toString('utf8');
    answer(text === '' ? {} : (JSON.parse(text) as Asked), response);
  });
});
server.keepAliveTimeout = 65_000;
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
process.once('disconnect', () => process.exit(0));
