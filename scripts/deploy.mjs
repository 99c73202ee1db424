// `npm run deploy -- temporal|valkey`: starts a set-up of docs/deploy/ on this machine and returns once it is ready;
// `npm run deploy -- stop` stops what runs in that home. Never part of `npm start` or `npm test`.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { mkdirSync, openSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from './build.mjs';
import { homeFolder, ROOT } from './environment.mjs';
import { createProgress } from './progress.mjs';

const USAGE = `npm run deploy -- temporal [--faults] [--home DIR]      two Temporal servers on one PostgreSQL, behind HAProxy
npm run deploy -- valkey [--replicas N] [--home DIR]   a Valkey cluster of three primaries, N replicas each (default 1)
npm run deploy -- stop (temporal|valkey | --home DIR)

--faults makes one persistence call in twenty fail. DIR is .colloquy/deploy-temporal or …-valkey unless given.
What to set for "npm start" is printed and stands in DIR/run/deployment.json; DIR/run/processes.json has the pids.`;

const { positionals, values } = readArguments();
const [verb, which] = positionals;
if (verb === 'stop') await stop(values.home ?? which);
else if (verb === 'temporal' || verb === 'valkey') await start(verb);
else refuse();

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        faults: { type: 'boolean', default: false },
        replicas: { type: 'string' },
        home: { type: 'string' },
      },
    });
  } catch (error) {
    process.stderr.write(`${error.message}\n\n`);
    return refuse();
  }
}

function refuse() {
  process.stderr.write(`${USAGE}\n`);
  process.exit(2);
}

function homeOf(kindOrFolder) {
  const isKind = kindOrFolder === 'temporal' || kindOrFolder === 'valkey';
  return isKind ? join(homeFolder(), `deploy-${kindOrFolder}`) : resolve(kindOrFolder);
}

async function stop(kindOrFolder) {
  if (kindOrFolder === undefined) refuse();
  const { stopSystem } = createRequire(import.meta.url)(join(ROOT, 'dist', 'runtime', 'stop.js'));
  const home = homeOf(kindOrFolder);
  const { wasRunning, ended } = await stopSystem(home);
  const leftovers = ended.length === 0 ? '' : ` Ended what was left: ${ended.join(', ')}.`;
  process.stdout.write(`${wasRunning ? 'Stopped.' : `Nothing ran in ${home}.`}${leftovers}\n`);
}

async function start(kind) {
  const progress = createProgress(process.stdout);
  await build(progress);
  const home = homeOf(values.home ?? kind);
  mkdirSync(join(home, 'logs'), { recursive: true, mode: 0o700 });
  const log = openSync(join(home, 'logs', 'supervisor.log'), 'a', 0o600);
  const flags = [
    ...(values.faults ? ['--faults'] : []),
    ...(values.replicas === undefined ? [] : ['--replicas', values.replicas]),
    ...['--runtime', join(homeFolder(), 'runtime')],
  ];
  const supervisor = spawn(
    process.execPath,
    [
      '--enable-source-maps',
      join(ROOT, 'dist', 'runtime', 'deploy', 'deploy-main.js'),
      kind,
      ...flags,
    ],
    {
      cwd: ROOT,
      env: { ...process.env, COLLOQUY_HOME: home },
      stdio: ['ignore', log, log, 'ipc'],
      detached: true,
    },
  );
  supervisor.on('message', (message) => {
    if (message.type === 'begin') progress.begin(message.task);
    else if (message.type === 'update') progress.update(message.task, message.note);
    else if (message.type === 'done') progress.done(message.task, message.note);
    else if (message.type === 'failed') fail(progress, message.message);
    else if (message.type === 'ready') {
      progress.close();
      showReady(kind, message);
      supervisor.disconnect();
      supervisor.unref();
      process.exit(0);
    }
  });
  supervisor.once('exit', (code) =>
    fail(progress, `It ended (${code}); its logs are in ${home}/logs.`),
  );
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => supervisor.kill('SIGTERM'));
}

function fail(progress, message) {
  progress.close();
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

function showReady(kind, { path, deployment }) {
  const variables = Object.entries(deployment.env).map(([name, value]) => `${name}='${value}'`);
  process.stdout.write(
    `\nReady (${process.uptime().toFixed(1)} s): ${path}\n\n  ${variables.join(' ')} npm start\n\n` +
      `Processes: ${deployment.processes}\n"npm run deploy -- stop ${values.home === undefined ? kind : `--home ${values.home}`}" stops it.\n`,
  );
}
