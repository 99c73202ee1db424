// `npm run status`: what runs in COLLOQUY_HOME. Exit code 0 when a system runs and every process of it is fine.
import { createRequire } from 'node:module';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { homeFolder, loadDotEnv, ROOT } from './environment.mjs';

loadDotEnv();
const compiled = join(ROOT, 'dist', 'runtime', 'status.js');
const status = existsSync(compiled)
  ? await createRequire(import.meta.url)(compiled).systemStatus(homeFolder())
  : null;

if (status === null || status.supervisorPid === null) {
  process.stdout.write(`Colloquy does not run in ${homeFolder()}.\n`);
  const left = (status?.processes ?? []).filter(({ state }) => state !== 'gone');
  if (left.length > 0)
    process.stdout.write(
      'A crashed run left processes behind; "npm stop" or "npm start" ends them:\n',
    );
  show(left);
  process.exitCode = 1;
} else {
  show(status.processes);
  const { endpoints } = status;
  if (endpoints === null) process.stdout.write('\nIt is still starting.\n');
  else
    process.stdout.write(
      `\nChat         ${endpoints.gateways.join('  ')}\nTemporal UI  ${endpoints.temporal_ui ?? endpoints.temporal}\n`,
    );
  const isFine =
    endpoints !== null &&
    status.processes.every(({ state }) => state === 'ready' || state === 'running');
  process.exitCode = isFine ? 0 : 1;
}

function show(processes) {
  const rows = processes.map(({ entry, state, role }) => [
    entry.name,
    entry.kind,
    role === undefined ? state : `${state} (${role})`,
    String(entry.pid),
    entry.log,
  ]);
  if (rows.length === 0) return;
  const all = [['NAME', 'KIND', 'STATE', 'PID', 'LOG'], ...rows];
  const widths = all[0].map((_, column) => Math.max(...all.map((row) => row[column].length)));
  for (const row of all)
    process.stdout.write(
      `${row
        .map((cell, column) => cell.padEnd(widths[column]))
        .join('  ')
        .trimEnd()}\n`,
    );
}
