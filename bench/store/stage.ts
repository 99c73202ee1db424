// Where the store's benches run: a PostgreSQL and a Valkey of their own, in COLLOQUY_HOME/bench-store, which keeps its data
// so that a million turns are loaded once.
import { join, resolve } from 'node:path';
import { migrate } from '../../postgres/migrate.ts';
import { createPool } from '../../postgres/pool.ts';
import type { Pool } from '../../postgres/pool.ts';
import { projectPath } from '../../process/paths.ts';
import { connectRedis } from '../../redis/connection.ts';
import type { Redis } from '../../redis/connection.ts';
import { embeddedPostgres } from '../../runtime/embedded-postgres.ts';
import { embeddedValkey } from '../../runtime/embedded-valkey.ts';
import { createHomeFolder, homeFolder } from '../../runtime/home-folder.ts';
import { logPath } from '../../runtime/log-files.ts';
import { PortBook } from '../../runtime/ports.ts';
import { ProcessSet } from '../../runtime/process-set.ts';
import { SILENT } from '../../runtime/progress.ts';
import { runFiles } from '../../runtime/run-files.ts';

export interface Stage {
  readonly db: Pool;
  /** A connection to the Valkey of its own; closed with the stage. */
  connect(): Redis;
  close(): Promise<void>;
}

/** @param poolSize connections to PostgreSQL */
export async function startStage(poolSize: number): Promise<Stage> {
  const base = homeFolder(process.env['COLLOQUY_HOME'] ?? '.colloquy');
  const root = resolve(base.root, 'bench-store');
  // The binaries are those of the checkout's home.
  const home = { ...homeFolder(root), runtime: base.runtime };
  createHomeFolder(home);
  const files = runFiles(home.run);
  const processes = new ProcessSet({
    path: files.processes,
    supervisor: { name: 'bench', kind: 'supervisor', log: logPath(home.logs, 'bench') },
    onChange: () => undefined,
    onWriteError: (error) => {
      throw error;
    },
  });
  const context = {
    home,
    ports: new PortBook(files.ports),
    env: { PATH: process.env['PATH'] ?? '', COLLOQUY_HOME: root },
    progress: SILENT,
    signal: new AbortController().signal,
  };
  const start = async (make: typeof embeddedValkey): Promise<string> => {
    const service = await make(context);
    await processes.add(service.spec).whenReady(60_000);
    await service.whenReady?.();
    return service.url;
  };
  const [databaseUrl, redisUrl] = await Promise.all([
    start((given) => embeddedPostgres(given)),
    start(embeddedValkey),
  ]);
  await migrate(databaseUrl, join(projectPath('migrations')));
  const db = createPool({ url: databaseUrl, poolSize }, () => undefined);
  const connections: Redis[] = [];
  return {
    db,
    connect: () => {
      const redis = connectRedis({
        url: redisUrl,
        scriptsFolder: projectPath('redis', 'lua'),
        onError: (error) => console.error(error.message),
      });
      connections.push(redis);
      return redis;
    },
    close: async () => {
      for (const redis of connections) redis.disconnect();
      await db.end();
      await processes.stop();
    },
  };
}
