// Bundles the compiled workflows once, for every process that runs them: dist/workflow-bundle.js.
import { createRequire } from 'node:module';
import { renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** @param root the checkout, with dist/workflows compiled */
export async function bundleWorkflows(root) {
  const require = createRequire(join(root, 'package.json'));
  const { bundleWorkflowCode } = require('@temporalio/worker');
  const { code } = await bundleWorkflowCode({
    workflowsPath: join(root, 'dist', 'workflows', 'index.js'),
    logger: quiet,
  });
  const target = join(root, 'dist', 'workflow-bundle.js');
  // Replaced in one step: a process that starts meanwhile must not load half of it.
  writeFileSync(`${target}.tmp`, code);
  renameSync(`${target}.tmp`, target);
}

/** Webpack's statistics are noise; its warnings and errors are not. */
const quiet = {
  log: () => {},
  trace: () => {},
  debug: () => {},
  info: () => {},
  warn: (message) => process.stderr.write(`${message}\n`),
  error: (message) => process.stderr.write(`${message}\n`),
};

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await bundleWorkflows(dirname(dirname(fileURLToPath(import.meta.url))));
}
