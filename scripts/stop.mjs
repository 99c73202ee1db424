// `npm stop`: stops what runs in COLLOQUY_HOME.
import { createRequire } from 'node:module';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { homeFolder, loadDotEnv, ROOT } from './environment.mjs';

loadDotEnv();
const compiled = join(ROOT, 'dist', 'runtime', 'stop.js');
if (!existsSync(compiled)) {
  process.stdout.write(
    'Nothing was built in this checkout, so nothing of it runs ("npm run build" builds).\n',
  );
} else {
  const { stopSystem } = createRequire(import.meta.url)(compiled);
  const { wasRunning, ended } = await stopSystem(homeFolder());
  const leftovers = ended.length === 0 ? '' : ` Ended what was left: ${ended.join(', ')}.`;
  process.stdout.write(
    `${wasRunning ? 'Stopped.' : `Nothing ran in ${homeFolder()}.`}${leftovers}\n`,
  );
}
