import { existsSync, mkdtempSync, readFileSync, rmSync, chmodSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { embeddedPostgres } from '../../../runtime/embedded-postgres.ts';
import { PortBook } from '../../../runtime/ports.ts';
import { accountNamed, choosePostgresAccount } from '../../../runtime/postgres-account.ts';
import { SILENT } from '../../../runtime/progress.ts';
import { SupervisedProcess } from '../../../runtime/supervised-process.ts';
import { createTestHome, removeTestHome } from '../../helpers/test-home.ts';
import type { HomeFolder } from '../../../runtime/home-folder.ts';
import type { PostgresAccount } from '../../../runtime/postgres-account.ts';
import type { ServiceContext } from '../../../runtime/embedded-service.ts';

const isRoot = process.getuid?.() === 0;
const nobody = accountNamed('nobody', readFileSync('/etc/passwd', 'utf8'));

describe('embeddedPostgres', () => {
  let home: HomeFolder;
  let shared: string;

  beforeEach(() => {
    home = createTestHome();
    shared = mkdtempSync(join(tmpdir(), 'shared-'));
    chmodSync(shared, 0o755);
  });

  afterEach(() => {
    removeTestHome(home);
    rmSync(shared, { recursive: true, force: true });
  });

  async function roundTrip(account?: PostgresAccount): Promise<void> {
    const context: ServiceContext = {
      home,
      ports: new PortBook(join(home.run, 'ports.json')),
      progress: SILENT,
      signal: new AbortController().signal,
      env: { PATH: process.env['PATH'] ?? '', COLLOQUY_HOME: home.root },
    };
    const service = await embeddedPostgres(context, {
      ...(account === undefined ? {} : { account }),
      sharedFolder: shared,
    });
    const running = new SupervisedProcess(service.spec, () => undefined);
    running.start();
    try {
      await running.whenReady(30_000);
      await service.whenReady?.();
      const client = new Client({ connectionString: service.url });
      await client.connect();
      await client.query('create extension vector');
      expect((await client.query(`select '[3,4]'::vector <-> '[0,0]' as distance`)).rows).toEqual([
        { distance: 5 },
      ]);
      expect((await client.query('show listen_addresses')).rows).toEqual([
        { listen_addresses: '127.0.0.1' },
      ]);
      await client.end();
      const wrong = new Client({ connectionString: service.url.replace(/:[^:@]+@/, ':wrong@') });
      await expect(wrong.connect()).rejects.toThrow('password authentication failed');
    } finally {
      await running.stop();
    }
  }

  it('runs from a home that only its owner can enter, with a password and pgvector', async () => {
    expect(statSync(home.root).mode & 0o077).toBe(0);
    await roundTrip();
    expect(existsSync(join(home.postgres, 'data', 'PG_VERSION'))).toBe(true);
  });

  (isRoot && nobody !== null ? it : it.skip)(
    'runs as an unprivileged account where namespaces are forbidden',
    async () => {
      if (nobody === null) return;
      await roundTrip({ kind: 'other', ...nobody });
      expect(existsSync(join(home.postgres, 'data'))).toBe(false);
    },
  );
});

describe('choosePostgresAccount', () => {
  it('leaves an ordinary user alone', () => {
    expect(choosePostgresAccount(false, () => true)).toEqual({ kind: 'own' });
  });

  it('prefers a namespace to another account under root', () => {
    expect(choosePostgresAccount(true, () => true)).toEqual({ kind: 'namespace' });
    expect(choosePostgresAccount(true, () => false)).toMatchObject({ kind: 'other' });
  });

  it('never takes an account that is root by another name', () => {
    expect(accountNamed('toor', 'root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/root:/bin/sh')).toBeNull();
    expect(accountNamed('postgres', 'postgres:x:105:109::/var/lib/postgresql:/bin/bash')).toEqual({
      uid: 105,
      gid: 109,
    });
  });
});
