// The role that processes run as: it reads and writes rows and can change no table (migration 0012, decision 0021).
import { Client, escapeLiteral } from 'pg';

/** Made by a migration, without a password. */
export const APP_ROLE = 'colloquy_app';

/** Lets the role log in. @param password safe in a URL; an earlier one is replaced */
export async function enableAppRole(ownerUrl: string, password: string): Promise<void> {
  const client = new Client({ connectionString: ownerUrl });
  await client.connect();
  try {
    // A role is the server's: another start on it may be doing the same.
    await client.query('begin');
    await client.query(`select pg_advisory_xact_lock(hashtext('enable_app_role'))`);
    await client.query(`alter role ${APP_ROLE} login password ${escapeLiteral(password)}`);
    await client.query('commit');
  } finally {
    await client.end();
  }
}

/** The same database for that role. */
export function appUrl(ownerUrl: string, password: string): string {
  const url = new URL(ownerUrl);
  url.username = APP_ROLE;
  url.password = password;
  return url.href;
}
