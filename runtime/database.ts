// Brings the databases of a start to this version's schema, and the first of them to its demo users.
import { join } from 'node:path';
import { seedDemo } from '../postgres/demo-users.ts';
import { migrate } from '../postgres/migrate.ts';
import { enableAppRole } from '../postgres/roles.ts';
import { connectShards } from '../postgres/shard-setup.ts';
import type { DemoTokens } from './secrets.ts';

/**
 * @param ownerUrl for the role that owns the tables, or will
 * @param shardUrls the same of shards 1, 2, …
 * @param appPassword for the role of our processes; null when a server of somebody else's has set it up
 * @returns tier → user id of the demo users
 */
export async function prepareDatabase(
  ownerUrl: string,
  workingFolder: string,
  tokens: DemoTokens,
  shardUrls: readonly string[],
  appPassword: string | null,
): Promise<Readonly<Record<string, string>>> {
  // The directory last: what it copies to the others has to find its place there.
  for (const url of [...shardUrls, ownerUrl]) {
    await migrate(url, join(workingFolder, 'migrations'));
    if (appPassword !== null) await enableAppRole(url, appPassword);
  }
  await connectShards([ownerUrl, ...shardUrls]);
  const { users } = await seedDemo(ownerUrl, tokens);
  return users;
}
