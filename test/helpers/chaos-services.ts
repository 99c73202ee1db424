// The services under a storm, in the runner's hands: those that a deployment does not give, embedded; and the proxies.
import { parseRedisUrl } from '../../redis/redis-url.ts';
import { logPath } from '../../runtime/log-files.ts';
import { PortBook } from '../../runtime/ports.ts';
import { ProcessSet } from '../../runtime/process-set.ts';
import { SILENT } from '../../runtime/progress.ts';
import { readProcesses, runFiles } from '../../runtime/run-files.ts';
import type { ProcessEntry } from '../../runtime/run-files.ts';
import { startServices, whenServicesReady } from '../../runtime/services.ts';
import type { ServiceUrls } from '../../runtime/services.ts';
import { FaultProxy } from './fault-proxy.ts';
import { createTestHome, removeTestHome } from './test-home.ts';

export interface OwnServices {
  readonly urls: ServiceUrls;
  readonly logs: string;
  processes(): ProcessEntry[];
  areReady(): boolean;
  stop(): Promise<void>;
}

/** The services that the deployment does not give, embedded, in a home of their own. */
export async function startOwnServices(
  given: Readonly<Record<string, string>>,
): Promise<OwnServices> {
  const home = createTestHome();
  const files = runFiles(home.run);
  const processes = new ProcessSet({
    path: files.processes,
    supervisor: { name: 'chaos', kind: 'supervisor', log: logPath(home.logs, 'chaos') },
    onChange: () => undefined,
    onWriteError: () => undefined,
  });
  const stop = async (): Promise<void> => {
    await processes.stop();
    removeTestHome(home);
  };
  const settings = {
    databaseUrl: null,
    shardUrls: [],
    numShards: 1,
    databaseOwnerUrl: null,
    redisUrl: given['REDIS_URL'] ?? null,
    temporalAddress: given['TEMPORAL_ADDRESS'] ?? null,
    temporalNamespace: 'default',
  };
  const context = {
    home,
    ports: new PortBook(files.ports),
    env: { PATH: process.env['PATH'] ?? '', COLLOQUY_HOME: home.root },
    progress: SILENT,
    signal: new AbortController().signal,
  };
  try {
    const urls = await whenServicesReady(startServices(settings, context, processes));
    return {
      urls,
      logs: home.logs,
      processes: () => readProcesses(files.processes).filter(({ kind }) => kind !== 'supervisor'),
      areReady: () => processes.all.every(({ state }) => state === 'ready'),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A proxy before each service, and the variables by which a system finds the proxies. */
export async function standBefore(
  urls: ServiceUrls,
): Promise<{ env: Record<string, string>; proxies: Map<string, FaultProxy> }> {
  const proxies = new Map<string, FaultProxy>();
  const before = async (name: string, host: string, port: number): Promise<number> => {
    const proxy = await FaultProxy.listen({ host, port });
    proxies.set(name, proxy);
    return proxy.port;
  };
  const proxied = async (name: string, text: string): Promise<string> => {
    const url = new URL(text);
    url.port = String(await before(name, url.hostname, Number(url.port)));
    return url.href;
  };
  const [host = '', port = ''] = urls.temporalAddress.split(':');
  return {
    env: {
      DATABASE_URL: await proxied('postgres', urls.databaseUrl),
      REDIS_URL:
        parseRedisUrl(urls.redisUrl).kind === 'cluster'
          ? urls.redisUrl
          : await proxied('redis', urls.redisUrl),
      TEMPORAL_ADDRESS: `127.0.0.1:${await before('temporal', host, Number(port))}`,
    },
    proxies,
  };
}
