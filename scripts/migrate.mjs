// `npm run migrate`: brings the database of DATABASE_OWNER_URL (or DATABASE_URL) to this version's schema. For deployments
// whose processes are not started by npm start; several may run at once.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { build } from './build.mjs';
import { loadDotEnv, ROOT } from './environment.mjs';
import { createProgress } from './progress.mjs';

loadDotEnv();
const url = process.env.DATABASE_OWNER_URL || process.env.DATABASE_URL;
if (!url) {
  process.stderr.write('npm run migrate needs DATABASE_OWNER_URL or DATABASE_URL.\n');
  process.exit(2);
}
const progress = createProgress(process.stdout);
await build(progress);
progress.close();
const { migrate } = createRequire(import.meta.url)(join(ROOT, 'dist', 'postgres', 'migrate.js'));
try {
  await migrate(url, join(ROOT, 'migrations'));
  process.stdout.write('The schema is that of this version.\n');
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
