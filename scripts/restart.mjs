// `npm run restart -- --rolling`: restarts our own processes in COLLOQUY_HOME one after the other, each drained first. The
// services (PostgreSQL, Valkey, Temporal) and the supervisor stay. New code is what "npm run build" has built before.
import { createRequire } from 'node:module';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { homeFolder, loadDotEnv, ROOT } from './environment.mjs';

loadDotEnv();
const compiled = join(ROOT, 'dist', 'runtime', 'restart.js');
if (!process.argv.includes('--rolling')) {
  process.stdout.write('There is one kind of restart: npm run restart -- --rolling\n');
  process.exitCode = 2;
} else if (!existsSync(compiled)) {
  process.stdout.write('Nothing was built in this checkout, so nothing of it runs.\n');
  process.exitCode = 1;
} else {
  try {
    const { restartSystem } = createRequire(import.meta.url)(compiled);
    const count = await restartSystem(homeFolder(), (name) =>
      process.stdout.write(`\u2713 ${name}\n`),
    );
    process.stdout.write(`${count} processes restarted.\n`);
  } catch (error) {
    process.stdout.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
