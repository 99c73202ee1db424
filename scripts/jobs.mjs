// `npm run jobs -- list | start NAME [--rate N] | progress NAME | pause NAME | resume NAME | cancel NAME`: batch jobs of the
// system in COLLOQUY_HOME, or of the one whose Temporal TEMPORAL_ADDRESS names. Exit code 2 for a wrong command.
import { createRequire } from 'node:module';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { homeFolder, loadDotEnv, ROOT } from './environment.mjs';

const USAGE =
  'npm run jobs -- list | start NAME [--rate N] | progress NAME | pause NAME | resume NAME | cancel NAME\n';

loadDotEnv();
const compiled = join(ROOT, 'dist', 'runtime', 'jobs.js');
if (!existsSync(compiled)) {
  process.stdout.write('Nothing was built in this checkout: "npm run build" first.\n');
  process.exitCode = 1;
} else {
  const runtime = createRequire(import.meta.url)(compiled);
  const asked = read(runtime);
  if (asked === null) process.exitCode = 2;
  else await run(runtime, asked);
}

/** What was asked; null, and it is said why, when it is no command. */
function read({ jobNamed, rateFrom }) {
  try {
    const options = { rate: { type: 'string' } };
    const { values, positionals } = parseArgs({ options, allowPositionals: true });
    const [verb, name, ...rest] = positionals;
    const known = ['list', 'start', 'progress', 'pause', 'resume', 'cancel'].includes(verb);
    if (!known || rest.length > 0 || (values.rate !== undefined && verb !== 'start')) {
      process.stdout.write(USAGE);
      return null;
    }
    if (verb === 'list' && name === undefined) return { verb };
    return { verb, name: jobNamed(name), rate: rateFrom(values.rate) };
  } catch (error) {
    process.stdout.write(`${error.message}\n${USAGE}`);
    return null;
  }
}

async function run({ connectJobs, temporalAddress }, { verb, name, rate }) {
  let jobs;
  try {
    const address = temporalAddress(homeFolder(), process.env);
    jobs = await connectJobs(address, process.env.TEMPORAL_NAMESPACE || 'default');
    if (verb === 'list') show(await jobs.list());
    else if (verb === 'progress') show([await jobs.progress(name)]);
    else if (verb === 'start') await jobs.start(name, rate);
    else await jobs[verb](name);
  } catch (error) {
    process.stdout.write(`${error.message}\n`);
    process.exitCode = 1;
  } finally {
    await jobs?.close();
  }
}

function show(list) {
  const rows = list.map(({ name, status, progress, note }) => [
    name,
    progress !== null && status === 'running' ? progress.state : status,
    progress === null ? '' : `${progress.done}/${progress.total}`,
    progress === null ? '' : `${progress.skipped}`,
    progress === null ? '' : `${progress.rate}/s`,
    note ?? progress?.lastId ?? '',
  ]);
  const all = [['NAME', 'STATE', 'DONE', 'SKIPPED', 'RATE', 'LAST'], ...rows];
  const widths = all[0].map((_, column) => Math.max(...all.map((row) => row[column].length)));
  for (const row of all)
    process.stdout.write(
      `${row
        .map((cell, column) => cell.padEnd(widths[column]))
        .join('  ')
        .trimEnd()}\n`,
    );
}
