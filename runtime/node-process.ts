// Turns a planned process into a spec: Node on its entry, with the ports and the environment that its kind expects.
import { join } from 'node:path';
import { logPath } from './log-files.ts';
import { answersOk } from './probes.ts';
import type { ChildSpec } from './child-spec.ts';
import type { HomeFolder } from './home-folder.ts';
import type { PlannedProcess } from './topology.ts';

/** A process gets its drain time and this much more before it is killed; it gives itself 10 s more (process/shutdown.ts). */
const STOP_MARGIN_MS = 12_000;

export interface NodeProcessContext {
  readonly home: HomeFolder;
  /** The checkout: entries, migrations and configuration are relative to it. */
  readonly workingFolder: string;
  /** Environment of all our processes: the operator's, the home and the services' URLs. */
  readonly env: Readonly<Record<string, string>>;
  readonly drainMs: number;
}

/** @param baseUrl where the process's HTTP server is reached from this machine; its port becomes PORT or METRICS_PORT */
export function nodeProcess(
  planned: PlannedProcess,
  baseUrl: string,
  context: NodeProcessContext,
): ChildSpec {
  const port = new URL(baseUrl).port;
  return {
    name: planned.name,
    kind: planned.kind,
    ...(planned.pool === undefined ? {} : { pool: planned.pool }),
    command: process.execPath,
    args: ['--enable-source-maps', join(context.workingFolder, planned.entry), ...planned.args],
    env: {
      ...context.env,
      COLLOQUY_PROCESS_NAME: planned.name,
      ...(planned.kind === 'gateway' ? { PORT: port } : { METRICS_PORT: port }),
    },
    workingFolder: context.workingFolder,
    log: logPath(context.home.logs, planned.name),
    metricsUrl: `${baseUrl}/metrics`,
    isReady: () => answersOk(`${baseUrl}/readyz`),
    stopSignal: 'SIGTERM',
    stopMs: context.drainMs + STOP_MARGIN_MS,
  };
}
