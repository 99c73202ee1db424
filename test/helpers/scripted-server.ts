// A small HTTP server on loopback whose answers a test writes: for the ways in which a real one fails.
import http from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';

export type Answer = (response: http.ServerResponse) => void | Promise<void>;

export interface ScriptedRequest {
  readonly path: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
  /** Resolves when the client has closed the connection, or the answer is complete. */
  readonly closed: Promise<unknown>;
}

export interface ScriptedServer {
  /** `http://127.0.0.1:PORT` */
  readonly address: string;
  readonly requests: readonly ScriptedRequest[];
  close(): Promise<void>;
}

/** Each request gets the next answer; the last one answers all that follow. */
export async function scriptedServer(...answers: readonly Answer[]): Promise<ScriptedServer> {
  const requests: ScriptedRequest[] = [];
  const server = http.createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.once('end', () => {
      const answer = answers[Math.min(requests.length, answers.length - 1)];
      requests.push({
        path: request.url ?? '',
        headers: request.headers,
        body: Buffer.concat(parts).toString('utf8'),
        closed: once(response, 'close'),
      });
      void answer?.(response);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    address: `http://127.0.0.1:${port}`,
    requests,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Begins an event stream. */
export function openStream(response: http.ServerResponse): http.ServerResponse {
  return response.writeHead(200, { 'content-type': 'text/event-stream' });
}

/** An answer of whole events, then the end. */
export function streamOf(...events: readonly unknown[]): Answer {
  return (response) => {
    openStream(response);
    for (const event of events)
      response.write(`data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`);
    response.end();
  };
}

/** An answer of a status and a body. */
export function status(
  code: number,
  headers: Readonly<Record<string, string>> = {},
  body = '{"error":{"message":"the prompt was: SECRET"}}',
): Answer {
  return (response) => {
    response.writeHead(code, { 'content-type': 'application/json', ...headers }).end(body);
  };
}
