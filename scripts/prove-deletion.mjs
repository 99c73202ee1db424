// `npm run prove-deletion`: proves on the system that runs in COLLOQUY_HOME, or on one of its own when none does, that what is
// deleted is nowhere: plants texts, deletes them, searches every store. Exit code 1 when anything is found.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from './build.mjs';
import { homeFolder, loadDotEnv, ROOT } from './environment.mjs';
import { createProgress } from './progress.mjs';

loadDotEnv();
const progress = createProgress(process.stdout);
await build(progress);
progress.close();
const { proveDeletion } = createRequire(import.meta.url)(
  join(ROOT, 'dist', 'runtime', 'deletion-proof', 'prove.js'),
);

const given = homeFolder();
const isRunning = existsSync(join(given, 'run', 'endpoints.json'));
const home = isRunning ? given : ownHome();
try {
  if (!isRunning) script('start.mjs', '--detach');
  process.stdout.write(`\n${isRunning ? 'The system' : 'A system of its own'} in ${home}\n`);
  const steps = await proveDeletion(home, { onStep: show });
  const [planted, ...deleted] = steps;
  const found = deleted.flatMap(({ findings }) => findings.flatMap(({ hits }) => hits)).length;
  const controls = planted.findings.filter(({ hits }) => hits.length > 0).length;
  process.stdout.write(
    found === 0
      ? `\n0 found after the deletions. Before them the text was found in ${controls} of ${planted.findings.length} stores.\n`
      : `\n${found} FOUND after the deletions.\n`,
  );
  if (found > 0 || controls === 0) process.exitCode = 1;
} finally {
  if (!isRunning) {
    script('stop.mjs');
    rmSync(home, { recursive: true, force: true });
  }
}
// The client libraries keep connections that would keep the process.
process.exit();

/** Data apart; binaries and weights are those of the checkout's home. */
function ownHome() {
  const home = mkdtempSync(join(tmpdir(), 'colloquy-proof-'));
  for (const name of ['runtime', 'models']) {
    mkdirSync(join(given, name), { recursive: true });
    symlinkSync(join(given, name), join(home, name));
  }
  return home;
}

function script(name, ...args) {
  const env = { ...process.env, COLLOQUY_HOME: home, PORT: '0' };
  for (const service of ['DATABASE_URL', 'REDIS_URL', 'TEMPORAL_ADDRESS']) env[service] = '';
  const { status } = spawnSync(process.execPath, [join(ROOT, 'scripts', name), ...args], {
    cwd: ROOT,
    env,
    stdio: 'inherit',
  });
  if (status !== 0) throw new Error(`${name} ended with ${status}.`);
}

function show({ step, findings }) {
  process.stdout.write(`\n${step}\n`);
  const width = Math.max(...findings.map(({ store }) => store.length));
  for (const { store, searched, hits } of findings)
    process.stdout.write(
      `  ${store.padEnd(width)}  ${String(hits.length).padStart(3)}  of ${searched}${hits.length === 0 ? '' : `: ${hits.slice(0, 5).join(', ')}${hits.length > 5 ? ' …' : ''}`}\n`,
    );
}
