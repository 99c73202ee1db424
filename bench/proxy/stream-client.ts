// One event stream over HTTP/1.1 or HTTP/2, with the time at which each frame was there. Certificates are not checked: the
// proxies of these measurements make their own.
import { request as requestHttp } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import { connect } from 'node:http2';
import { request as requestHttps } from 'node:https';
import { createParser } from 'eventsource-parser';

export interface TimedFrame {
  readonly id: number;
  readonly event: string;
  readonly data: string;
  /** performance.now() when its last byte was read. */
  readonly at: number;
}

export interface StreamRequest {
  readonly url: string;
  readonly isHttp2?: boolean;
  /** POST with this body; GET without. */
  readonly body?: object;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface StreamAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
}

/**
 * Resolves when the stream has ended.
 * @param onFrame hears of each frame; @param onComment of each comment
 * @throws Error when the connection breaks
 */
export function readStream(
  asked: StreamRequest,
  onFrame: (frame: TimedFrame) => void,
  onComment: (comment: string) => void = () => undefined,
  onAnswer: (answer: StreamAnswer) => void = () => undefined,
): Promise<void> {
  const parser = createParser({
    onEvent: ({ id, event, data }) =>
      onFrame({ id: Number(id), event: event ?? '', data, at: performance.now() }),
    onComment,
  });
  const onData = (part: string): void => parser.feed(part);
  const method = asked.body === undefined ? 'GET' : 'POST';
  const text = asked.body === undefined ? undefined : JSON.stringify(asked.body);
  const headers = {
    accept: 'text/event-stream',
    'accept-encoding': 'gzip, deflate, br',
    ...(text === undefined ? {} : { 'content-type': 'application/json' }),
    ...asked.headers,
  };
  const exchange = { ...asked, method, text, headers, onData, onAnswer };
  return asked.isHttp2 === true ? overHttp2(exchange) : overHttp1(exchange);
}

interface Exchange {
  readonly url: string;
  readonly method: string;
  readonly text: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly onData: (part: string) => void;
  readonly onAnswer: (answer: StreamAnswer) => void;
}

function overHttp1({ url, method, text, headers, onData, onAnswer }: Exchange): Promise<void> {
  return new Promise((resolve, reject) => {
    const isTls = url.startsWith('https:');
    const options = { method, headers, agent: false, rejectUnauthorized: false };
    const sent = (isTls ? requestHttps : requestHttp)(url, options, (response) => {
      onAnswer({ status: response.statusCode ?? 0, headers: response.headers });
      response.setEncoding('utf8').on('data', onData).on('end', resolve).on('error', reject);
    });
    sent.on('error', reject);
    sent.end(text);
  });
}

function overHttp2({ url, method, text, headers, onData, onAnswer }: Exchange): Promise<void> {
  return new Promise((resolve, reject) => {
    const { origin, pathname, search } = new URL(url);
    const session = connect(origin, { rejectUnauthorized: false });
    session.on('error', reject);
    const stream = session.request({
      ':method': method,
      ':path': `${pathname}${search}`,
      ...headers,
    });
    stream.on(
      'response',
      ({ ':status': status = 0, ...rest }: IncomingHttpHeaders & { ':status'?: number }) =>
        onAnswer({ status, headers: rest }),
    );
    stream.setEncoding('utf8').on('data', onData).on('error', reject);
    stream.on('end', () => {
      session.close();
      resolve();
    });
    stream.end(text);
  });
}
