// /healthz, /readyz and /metrics of a worker process, on a loopback port of its own.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';

export interface OperatorEndpoints {
  readonly port: number;
  close(): Promise<void>;
}

export interface OperatorChecks {
  readonly registry: Registry;
  /** Named checks; one that throws or answers false makes the process unready. */
  readonly ready: Readonly<Record<string, () => Promise<boolean> | boolean>>;
  /** The process can still do its work at all; false means it must be restarted. */
  readonly isAlive: () => boolean;
}

/** Listens on 127.0.0.1. Readiness answers 503 with the names of the parts that are missing. */
export async function serveOperatorEndpoints(
  port: number,
  checks: OperatorChecks,
): Promise<OperatorEndpoints> {
  const server = createServer((request, response) => {
    void answer(request.url ?? '/', checks).then(({ status, type, body }) => {
      response.writeHead(status, { 'content-type': type }).end(body);
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

async function answer(url: string, checks: OperatorChecks): Promise<Answer> {
  const path = url.split('?')[0];
  if (path === '/metrics')
    return {
      status: 200,
      type: checks.registry.contentType,
      body: await checks.registry.metrics(),
    };
  if (path === '/healthz')
    return json(checks.isAlive() ? 200 : 503, { status: checks.isAlive() ? 'ok' : 'failing' });
  if (path !== '/readyz') return json(404, { status: 'not found' });
  const missing = await failedChecks(checks.ready);
  return json(missing.length === 0 ? 200 : 503, {
    status: missing.length === 0 ? 'ready' : 'not ready',
    missing,
  });
}

/** Names of the checks that throw, answer false, or do not answer within a second. */
export async function failedChecks(checks: OperatorChecks['ready']): Promise<string[]> {
  const results = await Promise.all(
    Object.entries(checks).map(async ([name, check]) => {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<boolean>((resolve) => {
        timer = setTimeout(() => resolve(false), 1000);
      });
      const isFine = await Promise.race([
        Promise.resolve()
          .then(check)
          .catch(() => false),
        late,
      ]);
      clearTimeout(timer);
      return isFine ? null : name;
    }),
  );
  return results.filter((name) => name !== null);
}

function json(status: number, body: object): Answer {
  return { status, type: 'application/json', body: JSON.stringify(body) };
}
