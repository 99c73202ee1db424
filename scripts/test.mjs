// `npm test`: sets everything up, then runs every check and every test, and ends with one line that any runner can read.
// Names given on the command line choose steps: `npm test -- unit lint`.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from './build.mjs';
import { onNpmGone, ROOT } from './environment.mjs';
import { createProgress } from './progress.mjs';
import { StepError } from './run-step.mjs';

/** A hung test must not hold a machine for hours. */
const STEP_LIMIT_MS = 40 * 60_000;
const node = process.execPath;
const bin = (name, file) => [node, join('node_modules', name, file)];
const cargo = (...args) => ({ command: ['cargo', ...args], folder: join('inference', 'native') });

/** Each step is a check (passes or fails as one), or a suite whose tests are counted. In order; all run, whatever fails. */
const STEPS = [
  { name: 'format', command: [...bin('prettier', 'bin/prettier.cjs'), '--check', '.'] },
  { name: 'lint', command: [...bin('oxlint', 'bin/oxlint'), '--type-aware', '--deny-warnings'] },
  { name: 'types', command: [...bin('typescript', 'bin/tsc'), '--noEmit'] },
  {
    name: 'types-page',
    command: [...bin('typescript', 'bin/tsc'), '--noEmit', '-p', 'tsconfig.web.json'],
  },
  { name: 'knip', command: [...bin('knip', 'bin/knip.js'), '--no-progress'] },
  { name: 'cargo-fmt', ...cargo('fmt', '--check') },
  { name: 'cargo-clippy', ...cargo('clippy', '--quiet', '--all-targets', '--', '-D', 'warnings') },
  { name: 'cargo-test', ...cargo('test', '--quiet'), count: cargoCounts },
  { name: 'unit', jest: ['--maxWorkers=2'] },
  { name: 'contract', jest: ['--runInBand'] },
  { name: 'integration', jest: ['--runInBand'] },
  { name: 'e2e', jest: ['--runInBand'] },
];

const chosen = choose(process.argv.slice(2));
const scratch = mkdtempSync(join(tmpdir(), 'colloquy-results-'));
process.once('exit', () => rmSync(scratch, { recursive: true, force: true }));
let running = null;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, abort);
onNpmGone(abort);
await setUp();
const results = [];
for (const step of chosen) results.push(await runStep(step));
report(results);

function choose(names) {
  const unknown = names.filter((name) => !STEPS.some((step) => step.name === name));
  if (unknown.length > 0) {
    process.stderr.write(
      `There is no step ${unknown.join(', ')}; there are ${STEPS.map(({ name }) => name).join(', ')}.\n`,
    );
    process.exit(2);
  }
  return names.length === 0 ? STEPS : STEPS.filter(({ name }) => names.includes(name));
}

/** Ends the running step, which cleans up after itself, and then this process. */
function abort() {
  if (running === null) process.exit(130);
  running.once('close', () => process.exit(130));
  running.kill('SIGTERM');
}

async function setUp() {
  const progress = createProgress(process.stdout);
  try {
    await build(progress);
  } catch (error) {
    progress.close();
    process.stdout.write(
      `${error instanceof StepError ? error.message : error.stack}\n\n0 passed, 1 failed\n`,
    );
    process.exit(1);
  }
  progress.close();
}

async function runStep(step) {
  process.stdout.write(`\n── ${step.name}\n`);
  const since = Date.now();
  const outcome = step.jest === undefined ? await runCheck(step) : await runJest(step);
  const result = { name: step.name, seconds: (Date.now() - since) / 1000, skipped: 0, ...outcome };
  process.stdout.write(`${describe(result)}\n`);
  return result;
}

/** Shows the output of a check only when it fails. */
async function runCheck({ command, folder = '.', count }) {
  const { isGood, output } = await run(command, join(ROOT, folder), 'collect');
  if (!isGood) process.stdout.write(output);
  const counts = count?.(output);
  if (counts === undefined || counts.passed + counts.failed === 0)
    return { passed: isGood ? 1 : 0, failed: isGood ? 0 : 1 };
  return isGood || counts.failed > 0 ? counts : { ...counts, failed: 1 };
}

async function runJest({ name, jest }) {
  const file = join(scratch, `${name}.json`);
  const flags = [
    '--selectProjects',
    name,
    '--passWithNoTests',
    '--json',
    `--outputFile=${file}`,
    ...jest,
  ];
  const { isGood } = await run([...bin('jest', 'bin/jest.js'), ...flags], ROOT, 'errors');
  if (!existsSync(file)) return { passed: 0, failed: 1 };
  const result = JSON.parse(readFileSync(file, 'utf8'));
  // A file that cannot be loaded, or a set-up that fails, has no test of its own to count.
  const failed = result.numFailedTests + result.numRuntimeErrorTestSuites;
  const skipped = result.numPendingTests + result.numTodoTests;
  return { passed: result.numPassedTests, failed: failed === 0 && !isGood ? 1 : failed, skipped };
}

/**
 * @param show 'errors' passes stderr on, where jest reports, and drops stdout, where --json goes; 'collect' returns both
 */
function run(command, cwd, show) {
  return new Promise((resolve) => {
    const output = [];
    const child = spawn(command[0], command.slice(1), {
      cwd,
      stdio: [
        'ignore',
        show === 'errors' ? 'ignore' : 'pipe',
        show === 'errors' ? 'inherit' : 'pipe',
      ],
    });
    running = child;
    const timer = setTimeout(() => {
      process.stdout.write(`It took longer than ${STEP_LIMIT_MS / 60_000} minutes and is ended.\n`);
      child.kill('SIGTERM');
      setTimeout(() => child.kill('SIGKILL'), 10_000).unref();
    }, STEP_LIMIT_MS);
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (text) => output.push(text));
    const end = (isGood, note = '') => {
      clearTimeout(timer);
      running = null;
      resolve({ isGood, output: output.join('') + note });
    };
    child.once('error', (error) => end(false, `${error.message}\n`));
    child.once('close', (code) => end(code === 0));
  });
}

/** Adds up cargo's `test result: ok. 3 passed; 0 failed; 1 ignored; …` lines, one a test binary. */
function cargoCounts(output) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const [, passed, failed, ignored] of output.matchAll(
    /^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored/gm,
  )) {
    counts.passed += Number(passed);
    counts.failed += Number(failed);
    counts.skipped += Number(ignored);
  }
  return counts;
}

function describe({ name, passed, failed, skipped, seconds }) {
  const counts = `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
  return `${failed === 0 ? '✓' : '✗'} ${name.padEnd(14)} ${counts.padEnd(34)} ${seconds.toFixed(1)} s`;
}

function report(all) {
  const sum = (key) => all.reduce((total, result) => total + result[key], 0);
  const [passed, failed, skipped] = ['passed', 'failed', 'skipped'].map(sum);
  process.stdout.write(`\n── summary\n${all.map(describe).join('\n')}\n\n`);
  process.stdout.write(
    `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`,
  );
  process.exitCode = failed === 0 ? 0 : 1;
}
