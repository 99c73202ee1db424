// A database of its own for each test file, cloned from a template that has our schema.
import { randomBytes } from 'node:crypto';
import { join, resolve } from 'node:path';
import { Client } from 'pg';
import { migrate } from '../../postgres/migrate.ts';
import { services } from './services.ts';

const TEMPLATE = 'colloquy_template';

export interface TestDatabase {
  readonly url: string;
  /** Drops it, with whatever connections are left. */
  drop(): Promise<void>;
}

/** Called once a run, before any test file. */
export async function createTemplateDatabase(adminUrl: string): Promise<void> {
  await onServer(adminUrl, `create database ${TEMPLATE}`);
  await migrate(urlOf(adminUrl, TEMPLATE), resolve(__dirname, '..', '..', 'migrations'));
}

/** An empty database with our schema. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const { databaseUrl } = services();
  const name = `test_${randomBytes(8).toString('hex')}`;
  await onServer(databaseUrl, `create database ${name} template ${TEMPLATE} strategy file_copy`);
  return {
    url: urlOf(databaseUrl, name),
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
