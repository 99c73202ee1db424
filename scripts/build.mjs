// Everything between a fresh clone and something that can run: packages, native addon, compiler, workflow bundle.
// Each step is skipped while its inputs are unchanged.
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { acquireBuildLock } from './build-lock.mjs';
import { homeFolder, ROOT } from './environment.mjs';
import { packagesAreInstalled } from './packages.mjs';
import { missingTools } from './preflight.mjs';
import { createProgress } from './progress.mjs';
import { runStep, StepError } from './run-step.mjs';
import { filesBelow, sourceHash } from './source-hash.mjs';

const COMPILER_INPUTS = [
  'tsconfig.json',
  'tsconfig.build.json',
  'tsconfig.web.json',
  'package-lock.json',
];
const BUNDLE_INPUTS = ['package-lock.json', 'scripts/bundle-workflows.mjs'];

/**
 * Builds what changed.
 * @throws StepError with one readable message
 */
export async function build(progress) {
  const missing = await missingTools();
  if (missing.length > 0) throw new StepError(missing.join('\n'));
  const release = await acquireBuildLock(ROOT, () =>
    progress.line('Another build of this checkout runs; waiting for it.'),
  );
  try {
    const step = (task, command) =>
      runStep({ progress, task, command, cwd: ROOT, log: join(homeFolder(), 'logs', 'build.log') });
    if (!packagesAreInstalled(ROOT))
      await step('npm packages', ['npm', 'ci', '--no-audit', '--no-fund']);
    await Promise.all([
      step('native engine', [process.execPath, 'scripts/build-native.mjs']),
      compile(step),
    ]);
  } finally {
    release();
  }
}

async function compile(step) {
  const sources = [...sourceFolders(), 'web'];
  const tsc = (project) => [process.execPath, 'node_modules/typescript/bin/tsc', '-p', project];
  await unlessUnchanged(
    'compile',
    sourceHash(ROOT, [...COMPILER_INPUTS, ...sources], isSource),
    async () => {
      await step('TypeScript', tsc('tsconfig.build.json'));
      await step('page', tsc('tsconfig.web.json'));
      removeStaleOutput(sources);
    },
  );
  // The compiled workflows hold all they import from other folders of ours by way of these two.
  const compiled = ['dist/workflows', 'dist/contracts', 'dist/policy', ...BUNDLE_INPUTS];
  await unlessUnchanged(
    'bundle',
    sourceHash(ROOT, compiled, (path) => !path.endsWith('.map')),
    () => step('workflow bundle', [process.execPath, 'scripts/bundle-workflows.mjs']),
  );
}

/** Folders that tsconfig.build.json compiles. */
function sourceFolders() {
  const { include } = JSON.parse(readFileSync(join(ROOT, 'tsconfig.json'), 'utf8'));
  const { exclude } = JSON.parse(readFileSync(join(ROOT, 'tsconfig.build.json'), 'utf8'));
  return include.filter((folder) => !exclude.includes(folder));
}

const isSource = (path) => path.endsWith('.ts');

/** Runs a step unless the same inputs went through it before. The stamp is written last: a failed step runs again. */
async function unlessUnchanged(name, hash, work) {
  const stamp = join(ROOT, 'dist', `.${name}-stamp`);
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === hash) return;
  rmSync(stamp, { force: true });
  await work();
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, hash);
}

/** A source that was removed must not live on in dist. */
function removeStaleOutput(sources) {
  const isOutput = (path) => /\.js(\.map)?$/.test(path);
  for (const folder of readdirSync(join(ROOT, 'dist'), { withFileTypes: true })) {
    if (!folder.isDirectory()) continue;
    for (const path of filesBelow(join(ROOT, 'dist'), folder.name, isOutput)) {
      const source = path.replace(/\.js(\.map)?$/, '.ts');
      if (!sources.includes(folder.name) || !existsSync(join(ROOT, source)))
        rmSync(join(ROOT, 'dist', path));
    }
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const progress = createProgress(process.stdout);
  try {
    await build(progress);
  } catch (error) {
    progress.close();
    process.stderr.write(`${error instanceof StepError ? error.message : error.stack}\n`);
    process.exitCode = 1;
  }
  progress.close();
}
