// Brings the database of a start to this version's schema and its demo users.
import { join } from 'node:path';
import { seedDemo } from '../postgres/demo-users.ts';
import { migrate } from '../postgres/migrate.ts';
import type { DemoTokens } from './secrets.ts';

/** @returns tier → user id of the demo users */
export async function prepareDatabase(
  databaseUrl: string,
  workingFolder: string,
  tokens: DemoTokens,
): Promise<Readonly<Record<string, string>>> {
  await migrate(databaseUrl, join(workingFolder, 'migrations'));
  const { users } = await seedDemo(databaseUrl, tokens);
  return users;
}
