// `npm run test:deploy -- [temporal] [valkey-cluster] [nginx] [postgres]`: the suites on set-ups of docs/deploy/, all of them or
// those that are named. They take minutes, kill servers and need haproxy, nginx, Go, pgbouncer, patroni and etcd, so `npm test`
// does not run them.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { build } from './build.mjs';
import { ROOT } from './environment.mjs';
import { createProgress } from './progress.mjs';

const SUITES = ['temporal', 'valkey-cluster', 'nginx', 'postgres'];

const chosen = process.argv.slice(2);
const unknown = chosen.filter((name) => !SUITES.includes(name));
if (unknown.length > 0) {
  process.stderr.write(
    `There is no suite ${unknown.join(', ')}; there are ${SUITES.join(', ')}.\n`,
  );
  process.exit(2);
}
const progress = createProgress(process.stdout);
await build(progress);
progress.close();
const patterns = (chosen.length === 0 ? SUITES : chosen).map(
  (name) => `test/deploy/${name}.test.ts`,
);
const jest = spawn(
  process.execPath,
  [
    join('node_modules', 'jest', 'bin', 'jest.js'),
    ...['--selectProjects', 'deploy', '--runInBand', '--verbose'],
    ...patterns.flatMap((pattern) => ['--testPathPatterns', pattern]),
  ],
  { cwd: ROOT, stdio: 'inherit' },
);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => jest.kill(signal));
jest.once('exit', (code) => process.exit(code ?? 1));
