// A client of the public API for tests: one turn over its own socket, with what it received so far.
import { request } from 'node:http';
import type { ClientRequest } from 'node:http';
import { createParser } from 'eventsource-parser';

export interface ReceivedEvent {
  readonly id: number;
  readonly event: string;
  readonly data: Record<string, unknown>;
}

export interface TurnStream {
  readonly status: number;
  /** The body so far, of an answer that is no stream. */
  readonly refusal: string;
  /** Grows while the stream is open. */
  readonly events: readonly ReceivedEvent[];
  /** Resolves with the first event, of all so far and to come, that fulfils `isIt`; null when the stream ends first. */
  until(isIt: (event: ReceivedEvent) => boolean): Promise<ReceivedEvent | null>;
  /** Resolves when the peer or this side has closed. */
  readonly ended: Promise<void>;
  close(): void;
}

export interface Caller {
  readonly gateway: string;
  readonly token: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** A stream silent for so long is closed, before its first byte too; default never. */
  readonly idleMs?: number;
}

/** A JSON request; a status is a result, never an exception. */
export async function call(
  { gateway, token }: Caller,
  method: string,
  path: string,
  body?: unknown,
): Promise<{ status: number; headers: Headers; json: Record<string, unknown> }> {
  const response = await fetch(`${gateway}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    json: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>),
  };
}

/** @throws Error when the gateway refuses */
export async function newConversation(caller: Caller): Promise<string> {
  const { status, json } = await call(caller, 'POST', '/v1/conversations', {});
  if (status !== 201) throw new Error(`A new conversation was refused with ${status}.`);
  return String(json['conversation_id']);
}

export function takeTurn(
  caller: Caller,
  conversationId: string,
  body: object,
): Promise<TurnStream> {
  return open(caller, 'POST', `/v1/conversations/${conversationId}/turns`, {
    body: JSON.stringify({ role: 'user', ...body }),
  });
}

export function resumeTurn(
  caller: Caller,
  conversationId: string,
  turnId: string,
  after: number | string,
): Promise<TurnStream> {
  return open(caller, 'GET', `/v1/conversations/${conversationId}/turns/${turnId}/stream`, {
    headers: { 'last-event-id': String(after) },
  });
}

export const textOf = (events: readonly ReceivedEvent[]): string =>
  events.map(({ event, data }) => (event === 'token' ? String(data['text']) : '')).join('');

function open(
  { gateway, token, headers: own = {}, idleMs }: Caller,
  method: string,
  path: string,
  { body, headers = {} }: { body?: string; headers?: Record<string, string> },
): Promise<TurnStream> {
  const events: ReceivedEvent[] = [];
  const waiting = new Set<() => void>();
  let isEnded = false;
  let refusal = '';
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => (end = resolve));
  const wake = (): void => [...waiting].forEach((each) => each());
  const finish = (): void => {
    isEnded = true;
    end();
    wake();
  };
  const parser = createParser({
    onEvent: ({ id, event, data }) => {
      events.push({
        id: Number(id),
        event: event ?? '',
        data: JSON.parse(data) as ReceivedEvent['data'],
      });
      wake();
    },
  });
  return new Promise((resolve, reject) => {
    const sent: ClientRequest = request(`${gateway}${path}`, {
      method,
      agent: false,
      headers: {
        authorization: `Bearer ${token}`,
        accept: 'text/event-stream',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...own,
        ...headers,
      },
    });
    if (idleMs !== undefined)
      sent.setTimeout(idleMs, () => sent.destroy(new Error(`silent for ${idleMs} ms`)));
    sent.on('error', (error) => {
      finish();
      reject(error);
    });
    sent.on('response', (response) => {
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        if (response.statusCode === 200) parser.feed(chunk);
        else refusal += chunk;
      });
      response.on('close', finish);
      response.on('error', finish);
      resolve({
        status: response.statusCode ?? 0,
        get refusal() {
          return refusal;
        },
        events,
        ended,
        close: () => sent.destroy(),
        until: async (isIt) => {
          for (let index = 0; ; index += 1) {
            while (index >= events.length) {
              if (isEnded) return null;
              await new Promise<void>((next) => {
                const once = (): void => {
                  waiting.delete(once);
                  next();
                };
                waiting.add(once);
              });
            }
            const event = events[index];
            if (event !== undefined && isIt(event)) return event;
          }
        },
      });
    });
    sent.end(body);
  });
}
