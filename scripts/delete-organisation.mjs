// `npm run delete-organisation -- ID`: for operators. Deletes an organisation, its users and all that came of them, on the
// system that runs in COLLOQUY_HOME, and waits for the proof. It goes on though this is interrupted; a repeat joins it.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { existsSync, readFileSync } from 'node:fs';
import { homeFolder, loadDotEnv, ROOT } from './environment.mjs';

loadDotEnv();
const [orgId = ''] = process.argv.slice(2);
const endpointsPath = join(homeFolder(), 'run', 'endpoints.json');
const address =
  process.env.TEMPORAL_ADDRESS ||
  (existsSync(endpointsPath) ? JSON.parse(readFileSync(endpointsPath, 'utf8')).temporal : null);
if (!/^[0-9a-f-]{36}$/i.test(orgId) || address === null) {
  process.stderr.write(
    'npm run delete-organisation -- ORG_ID, while the system runs (or with TEMPORAL_ADDRESS).\n',
  );
  process.exit(2);
}
const require = createRequire(import.meta.url);
const { Client, Connection } = require('@temporalio/client');
const { createErasureDispatch } = require(join(ROOT, 'dist', 'process', 'erasure-dispatch.js'));
const { organisationErasureId } = require(join(ROOT, 'dist', 'contracts', 'erasure.js'));
const connection = await Connection.connect({ address });
const client = new Client({
  connection,
  namespace: process.env.TEMPORAL_NAMESPACE || 'default',
});
await createErasureDispatch(client).eraseOrganisation(orgId);
const { erased, left } = await client.workflow.getHandle(organisationErasureId(orgId)).result();
process.stdout.write(`Erased: ${JSON.stringify(erased)}\nLeft:   ${JSON.stringify(left)}\n`);
process.exit(left.rows + left.keys === 0 ? 0 : 1);
