// Temporal's two databases on our PostgreSQL: created and brought to their newest version by Temporal's own tool.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import type { TemporalBuild } from './temporal-build.ts';

const run = promisify(execFile);

/** Database → folder of its versions below the build's schemas. */
const DATABASES = [
  ['temporal', join('temporal', 'versioned')],
  ['temporal_visibility', join('visibility', 'versioned')],
] as const;

/** @param postgresUrl of a role that may create databases; the database it names is only connected to */
export async function prepareTemporalSchema(
  build: TemporalBuild,
  postgresUrl: string,
): Promise<void> {
  const { hostname, port, username, password } = new URL(postgresUrl);
  const env = {
    SQL_HOST: hostname,
    SQL_PORT: port,
    SQL_USER: username,
    SQL_PASSWORD: decodeURIComponent(password),
    SQL_PLUGIN: 'postgres12',
  };
  const client = new Client({ connectionString: postgresUrl });
  await client.connect();
  try {
    for (const [database, versions] of DATABASES) {
      const tool = (...args: string[]): Promise<unknown> =>
        run(build.sqlTool, args, { env: { ...env, SQL_DATABASE: database } });
      const known = await client.query('select 1 from pg_database where datname = $1', [database]);
      if (known.rowCount === 0) {
        await tool('create-database');
        await tool('setup-schema', '-v', '0.0');
      }
      await tool('update-schema', '-d', join(build.schemas, versions));
    }
  } finally {
    await client.end();
  }
}
