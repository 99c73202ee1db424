// Brings the databases of a start to this version's schema, and the first of them to its demo users.
import { join } from 'node:path';
import { seedDemo } from '../postgres/demo-users.ts';
import { migrate } from '../postgres/migrate.ts';
import { connectShards } from '../postgres/shard-setup.ts';
import type { DemoTokens } from './secrets.ts';

/**
 * @param shardUrls shards 1, 2, …
 * @returns tier → user id of the demo users
 */
export async function prepareDatabase(
  databaseUrl: string,
  workingFolder: string,
  tokens: DemoTokens,
  shardUrls: readonly string[],
): Promise<Readonly<Record<string, string>>> {
  // The directory last: what it copies to the others has to find its place there.
  for (const url of [...shardUrls, databaseUrl])
    await migrate(url, join(workingFolder, 'migrations'));
  await connectShards([databaseUrl, ...shardUrls]);
  const { users } = await seedDemo(databaseUrl, tokens);
  return users;
}
