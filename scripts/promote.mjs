// `npm run promote [-- NODE]`: makes a standby of the embedded PostgreSQL the primary; without a name, one that has everything. In
// order when the primary runs: nothing acknowledged is lost, writes wait for a moment, reads do not.
import { createRequire } from 'node:module';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { homeFolder, loadDotEnv, ROOT } from './environment.mjs';

loadDotEnv();
const compiled = join(ROOT, 'dist', 'runtime', 'promotion.js');
if (!existsSync(compiled)) {
  process.stdout.write('Nothing was built in this checkout, so nothing of it runs.\n');
  process.exitCode = 1;
} else {
  try {
    const { orderPromotion } = createRequire(import.meta.url)(compiled);
    const primary = await orderPromotion(homeFolder(), process.argv[2] ?? null);
    process.stdout.write(`${primary} is the primary.\n`);
  } catch (error) {
    process.stdout.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
