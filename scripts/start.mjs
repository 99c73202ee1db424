// `npm start`: builds what changed, then starts the supervisor and shows what it does. Plain Node: it runs on a clone
// that has no packages yet.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { existsSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from './build.mjs';
import { homeFolder, loadDotEnv, onNpmGone, ROOT } from './environment.mjs';
import { packagesAreInstalled } from './packages.mjs';
import { createProgress } from './progress.mjs';
import { StepError } from './run-step.mjs';

const USAGE = `npm start -- [--detach] [--gateways N] [--workers POOL=N]... [--replicas N] [--shards N]

  --detach          return once everything is ready; "npm stop" stops it
  --gateways N      number of gateways (default 1)
  --workers POOL=N  number of inference workers of a pool (default 1 each)
  --replicas N      number of standbys of the embedded PostgreSQL (default 0)
  --shards N        number of databases that users are spread over (default 1; docs/sharding.md)

Data lives in COLLOQUY_HOME (default .colloquy). DATABASE_URL, REDIS_URL and TEMPORAL_ADDRESS replace the embedded
services; PORT is the gateway's port (default 8080, 0 = any). All other settings are in .env.example.`;

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];

loadDotEnv();
const options = readOptions();
const progress = createProgress(process.stdout);
const home = homeFolder();
const abort = () => fail('Ended before anything was started.');
for (const signal of SIGNALS) process.on(signal, abort);
onNpmGone(() => process.kill(process.pid, 'SIGTERM'));
try {
  refuseSecondStart();
  await build(progress);
  refuseSecondStart();
  run();
} catch (error) {
  fail(error instanceof StepError ? error.message : error.stack);
}

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        detach: { type: 'boolean', default: false },
        gateways: { type: 'string' },
        workers: { type: 'string', multiple: true, default: [] },
        replicas: { type: 'string' },
        shards: { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    if (values.help) {
      process.stdout.write(`${USAGE}\n`);
      process.exit(0);
    }
    return values;
  } catch (error) {
    process.stderr.write(`${error.message}\n\n${USAGE}\n`);
    process.exit(2);
  }
}

function fail(message) {
  progress.close();
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

/** Before the build, which would change files under a running system, and again before its log is rotated. */
function refuseSecondStart() {
  const compiled = join(ROOT, 'dist', 'runtime', 'home-lock.js');
  if (!existsSync(compiled) || !packagesAreInstalled(ROOT)) return;
  const { lockOwner } = createRequire(import.meta.url)(compiled);
  const owner = lockOwner(join(home, 'run', 'supervisor.lock'));
  if (owner !== null) {
    fail(
      `Colloquy already runs in ${home} (process ${owner.pid}). "npm run status" shows it, "npm stop" stops it.`,
    );
  }
}

function run() {
  const flags = [
    ...(options.detach ? ['--detach'] : []),
    ...(options.gateways === undefined ? [] : ['--gateways', options.gateways]),
    ...(options.shards === undefined ? [] : ['--shards', options.shards]),
    ...options.workers.flatMap((each) => ['--workers', each]),
    ...(options.replicas === undefined ? [] : ['--replicas', options.replicas]),
  ];
  const log = supervisorLog();
  const supervisor = spawn(
    process.execPath,
    ['--enable-source-maps', join(ROOT, 'dist', 'runtime', 'supervisor-main.js'), ...flags],
    {
      cwd: ROOT,
      env: { ...process.env, COLLOQUY_HOME: home },
      stdio: ['ignore', log, log, 'ipc'],
      // Its own session: a closing terminal does not take it along, and Ctrl-C comes to it through us, once.
      detached: true,
    },
  );
  const stop = stopper(supervisor);
  for (const signal of SIGNALS) process.off(signal, abort).on(signal, stop);
  let failure = null;
  supervisor.on('message', (message) => {
    if (message.type === 'begin') progress.begin(message.task);
    else if (message.type === 'update') progress.update(message.task, message.note);
    else if (message.type === 'done') progress.done(message.task, message.note);
    else if (message.type === 'line') progress.line(message.text);
    else if (message.type === 'failed') failure = message.message;
    else if (message.type === 'ready') showReady(message.endpoints, supervisor);
  });
  supervisor.once('exit', (code, signal) => {
    if (failure !== null) fail(failure);
    if (code !== 0)
      fail(
        `The supervisor ended (${signal ?? `exit ${code}`}); its log is ${join(home, 'logs', 'supervisor.log')}`,
      );
    progress.line('Stopped.');
    progress.close();
    process.exit(0);
  });
}

function supervisorLog() {
  const logs = join(home, 'logs');
  mkdirSync(logs, { recursive: true, mode: 0o700 });
  const path = join(logs, 'supervisor.log');
  createRequire(import.meta.url)(join(ROOT, 'dist', 'runtime', 'log-files.js')).rotateLog(path);
  return openSync(path, 'a', 0o600);
}

/** The first signal stops in order. npm passes Ctrl-C on a second time at once, so only a later one means "now". */
function stopper(supervisor) {
  const DOUBLE_MS = 1000;
  let since = null;
  return () => {
    if (since !== null && Date.now() - since < DOUBLE_MS) return;
    if (since === null) progress.line('Stopping; once more to stop at once.');
    since ??= Date.now();
    supervisor.kill('SIGTERM');
  };
}

function showReady(endpoints, supervisor) {
  progress.close();
  const rows = [
    ['Chat', endpoints.gateways.join('  ')],
    ['Temporal UI', endpoints.temporal_ui ?? `(external: ${endpoints.temporal})`],
    ...Object.entries(endpoints.tokens).map(([tier, token]) => [`Token, ${tier}`, token]),
    ['Home', existsSync(home) ? home : ''],
  ];
  process.stdout.write(`\nColloquy is ready (${process.uptime().toFixed(1)} s).\n\n`);
  for (const [name, value] of rows) process.stdout.write(`  ${name.padEnd(18)} ${value}\n`);
  process.stdout.write(
    options.detach ? '\n"npm run status" shows it, "npm stop" stops it.\n' : '\nCtrl-C stops it.\n',
  );
  if (!options.detach) return;
  supervisor.disconnect();
  supervisor.unref();
  process.exit(0);
}
