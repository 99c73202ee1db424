// A database of its own for each test file, cloned from a template that has our schema.
import { randomBytes } from 'node:crypto';
import { join, resolve } from 'node:path';
import { Client } from 'pg';
import { migrate } from '../../postgres/migrate.ts';
import { appUrl, enableAppRole } from '../../postgres/roles.ts';
import { services } from './services.ts';

const TEMPLATE = 'colloquy_template';
const APP_PASSWORD = 'app';

export interface TestDatabase {
  /** For the role that owns the tables. */
  readonly url: string;
  /** For the role that processes run as. */
  readonly appUrl: string;
  /** Drops it, with whatever connections are left. */
  drop(): Promise<void>;
}

/** Called once a run, before any test file. */
export async function createTemplateDatabase(adminUrl: string): Promise<void> {
  await onServer(adminUrl, `create database ${TEMPLATE}`);
  const url = urlOf(adminUrl, TEMPLATE);
  await migrate(url, resolve(__dirname, '..', '..', 'migrations'));
  await enableAppRole(url, APP_PASSWORD);
}

/** A database with our schema and no rows; `empty` has not even that. */
export async function createTestDatabase(
  content: 'schema' | 'empty' = 'schema',
): Promise<TestDatabase> {
  const { databaseUrl } = services();
  const name = `test_${randomBytes(8).toString('hex')}`;
  const template = content === 'schema' ? ` template ${TEMPLATE} strategy file_copy` : '';
  await onServer(databaseUrl, `create database ${name}${template}`);
  const url = urlOf(databaseUrl, name);
  return {
    url,
    appUrl: appUrl(url, APP_PASSWORD),
    drop: () => onServer(databaseUrl, `drop database ${name} with (force)`),
  };
}

function urlOf(adminUrl: string, database: string): string {
  const url = new URL(adminUrl);
  url.pathname = join('/', database);
  return url.href;
}

async function onServer(adminUrl: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: adminUrl });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
