// One POST whose answer is a stream of server-sent events, over Node's own client: unlike fetch it tells a connection
// that is not made from an answer that is slow, and it never follows a redirect. It knows nothing of models.
import http from 'node:http';
import https from 'node:https';
import { createParser } from 'eventsource-parser';
import { AppError } from '../../contracts/errors.ts';

export interface StreamTimeouts {
  readonly connectMs: number;
  /** From sending the request to the first event. */
  readonly firstEventMs: number;
  readonly betweenEventsMs: number;
}

export interface PostOptions {
  readonly headers: Readonly<Record<string, string>>;
  /** JSON. */
  readonly body: string;
  readonly timeouts: StreamTimeouts;
  /** Closes the connection, which is how such a server learns that nobody wants the rest. */
  readonly signal: AbortSignal;
  readonly agent: http.Agent | undefined;
}

/** An event larger than this is no token. */
const MAX_EVENT_CHARS = 1024 * 1024;

/**
 * Yields each event's data until the server ends the stream. Leaving the loop early closes the connection.
 * @throws AppError OVERLOADED while nothing has come and the server is away or says 429 or 503 (with its Retry-After);
 *   GENERATION_TIMEOUT; GENERATION_FAILED when the stream breaks; INVALID_REQUEST or INVARIANT_VIOLATED when the server
 *   will not have the request. What a server says in an error's body may hold prompts and is not repeated.
 */
export async function* postForEvents(url: URL, options: PostOptions): AsyncGenerator<string> {
  const { timeouts, signal } = options;
  const timer = new Deadline(timeouts.firstEventMs);
  const response = await open(url, options, timer);
  try {
    timer.onPassed = (error) => response.destroy(error);
    refuse(response);
    for await (const data of eventsOf(response)) {
      timer.restart(timeouts.betweenEventsMs);
      yield data;
    }
  } catch (error) {
    throw error instanceof AppError || signal.aborted ? error : broken(error);
  } finally {
    timer.stop();
    response.destroy();
  }
}

/** Sends the request and waits for the answer's head. */
async function open(
  url: URL,
  { headers, body, timeouts, signal, agent }: PostOptions,
  timer: Deadline,
): Promise<http.IncomingMessage> {
  const { request: send } = url.protocol === 'https:' ? https : http;
  const connecting = new Deadline(timeouts.connectMs);
  try {
    return await new Promise<http.IncomingMessage>((resolve, reject) => {
      const request = send(url, {
        method: 'POST',
        headers: {
          ...headers,
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(body),
          accept: 'text/event-stream',
        },
        signal,
        agent,
      });
      timer.onPassed = (error) => request.destroy(error);
      connecting.onPassed = () => request.destroy(unreachable());
      request.once('socket', (socket) => {
        const isSecure = url.protocol === 'https:';
        if (!socket.connecting) connecting.stop();
        else socket.once(isSecure ? 'secureConnect' : 'connect', () => connecting.stop());
      });
      request.once('response', resolve);
      // Until its answer begins, a request that came to nothing may be sent again.
      request.on('error', (error) =>
        reject(error instanceof AppError || signal.aborted ? error : unreachable(error)),
      );
      request.end(body);
    });
  } catch (error) {
    timer.stop();
    throw error;
  } finally {
    connecting.stop();
  }
}

async function* eventsOf(response: http.IncomingMessage): AsyncGenerator<string> {
  const ready: string[] = [];
  const parser = createParser({ onEvent: ({ data }) => ready.push(data) });
  let numPending = 0;
  response.setEncoding('utf8');
  for await (const part of response as AsyncIterable<string>) {
    parser.feed(part);
    numPending = ready.length > 0 ? 0 : numPending + part.length;
    if (numPending > MAX_EVENT_CHARS) throw broken(new Error('an event has no end'));
    yield* ready.splice(0);
  }
}

function refuse({ statusCode = 0, headers }: http.IncomingMessage): void {
  if (statusCode === 200 && headers['content-type']?.startsWith('text/event-stream') === true)
    return;
  const message = `the pool’s server answered ${statusCode}`;
  if ([408, 425, 429, 503].includes(statusCode)) {
    const seconds = Number(headers['retry-after']);
    throw new AppError('OVERLOADED', {
      message,
      ...(Number.isFinite(seconds) && seconds >= 0 ? { retryAfterSeconds: seconds } : {}),
    });
  }
  if (statusCode >= 500) throw new AppError('GENERATION_FAILED', { message });
  if ([400, 413, 422].includes(statusCode)) throw new AppError('INVALID_REQUEST', { message });
  // No key, no such model, a redirect, no event stream: the catalogue is wrong, and no retry changes that.
  throw new AppError('INVARIANT_VIOLATED', { message });
}

function unreachable(error?: unknown): AppError {
  return new AppError('OVERLOADED', {
    message: 'the pool’s server cannot be reached',
    cause: causeOf(error),
  });
}

function broken(error: unknown): AppError {
  return new AppError('GENERATION_FAILED', {
    message: 'the pool’s server broke off',
    cause: causeOf(error),
  });
}

/** The error's words alone: Node's may carry the bytes that it was at, and those are text of a reply. */
function causeOf(error: unknown): Error | undefined {
  return error instanceof Error ? new Error(error.message) : undefined;
}

/** One timer; `onPassed` is told once, unless it is stopped or restarted before. */
class Deadline {
  #timer: NodeJS.Timeout;
  onPassed: (error: AppError) => void = () => undefined;

  constructor(ms: number) {
    this.#timer = this.#start(ms);
  }

  restart(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = this.#start(ms);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #start(ms: number): NodeJS.Timeout {
    return setTimeout(
      () =>
        this.onPassed(
          new AppError('GENERATION_TIMEOUT', {
            message: `the pool’s server sent nothing for ${ms} ms`,
          }),
        ),
      ms,
    );
  }
}
