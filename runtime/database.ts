// Brings the database of a start to this version's schema and its demo users.
import { join } from 'node:path';
import { seedDemo } from '../postgres/demo-users.ts';
import { migrate } from '../postgres/migrate.ts';
import { enableAppRole } from '../postgres/roles.ts';
import type { DemoTokens } from './secrets.ts';

/**
 * @param ownerUrl for the role that owns the tables, or will
 * @param appPassword for the role of our processes; null when a server of somebody else's has set it up
 * @returns tier → user id of the demo users
 */
export async function prepareDatabase(
  ownerUrl: string,
  workingFolder: string,
  tokens: DemoTokens,
  appPassword: string | null,
): Promise<Readonly<Record<string, string>>> {
  await migrate(ownerUrl, join(workingFolder, 'migrations'));
  if (appPassword !== null) await enableAppRole(ownerUrl, appPassword);
  const { users } = await seedDemo(ownerUrl, tokens);
  return users;
}
