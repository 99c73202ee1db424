// Data folders of the embedded PostgreSQL's nodes: how a standby's is made, by a copy of the primary or by rewinding a former
// primary, and what says that a folder is a standby's. Knows nothing of who should follow whom.
import { execFile } from 'node:child_process';
import {
  appendFileSync,
  chownSync,
  existsSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { postgresSpec, postgresUrl } from './embedded-postgres.ts';
import { asAccount } from './postgres-account.ts';
import type { PostgresInstallation } from './embedded-postgres.ts';
import type { ChildSpec } from './child-spec.ts';
import type { ServiceContext } from './embedded-service.ts';

/** Bytes of the log that a node keeps for those who were away. */
const KEPT_LOG = '512MB';

/**
 * Of every node, for any may become the primary. A standby that is away for long finds the log gone and is copied anew; one
 * that hangs is dropped after four seconds, so that writes do not wait for it longer.
 */
const REPLICATION_SETTINGS: Readonly<Record<string, string>> = {
  wal_keep_size: KEPT_LOG,
  wal_sender_timeout: '4s',
  wal_receiver_timeout: '4s',
  wal_receiver_status_interval: '1s',
  wal_retrieve_retry_interval: '200ms',
  hot_standby: 'on',
  // Reads on a standby are not cancelled for what the primary cleans up.
  hot_standby_feedback: 'on',
  // Giving the end of a table back to the disk locks it, on standbys too: for as long as the primary takes to commit, or to die.
  vacuum_truncate: 'off',
};

export interface PostgresNode {
  /** Also its application_name as a standby. */
  readonly name: string;
  readonly data: string;
  /** The service's database there. */
  readonly url: string;
  /** The database that is always there. */
  readonly adminUrl: string;
  /** What others follow it by. */
  readonly conninfo: (follower: string) => string;
  readonly spec: ChildSpec;
}

/** @param data its folder, which may be absent: see copyPrimary */
export function postgresNode(
  context: ServiceContext,
  installation: PostgresInstallation,
  { name, data, port }: { name: string; data: string; port: number },
): PostgresNode {
  const conninfo = (follower: string): string =>
    `host=127.0.0.1 port=${port} user=colloquy password=${installation.password} application_name=${follower}`;
  return {
    name,
    data,
    url: postgresUrl(installation, port),
    adminUrl: postgresUrl(installation, port, 'postgres'),
    conninfo,
    spec: postgresSpec(context, installation, { name, data, port, settings: REPLICATION_SETTINGS }),
  };
}

export class NodeFolders {
  readonly #installation: PostgresInstallation;
  readonly #context: ServiceContext;

  /** @param context its signal ends whatever copies or rewinds */
  constructor(installation: PostgresInstallation, context: ServiceContext) {
    this.#installation = installation;
    this.#context = context;
  }

  /** Replaces a node's folder by a copy of the running primary; in a folder aside, so that half a copy is none. */
  async copyPrimary(node: PostgresNode, primary: PostgresNode): Promise<void> {
    const { account, folder } = this.#installation;
    const draft = await mkdtemp(join(folder, '.copy-'));
    try {
      if (account.kind === 'other') chownSync(draft, account.uid, account.gid);
      const target = join(draft, 'data');
      await this.#run('pg_basebackup', [
        ...['--dbname', withoutPassword(primary.conninfo(node.name))],
        ...['--pgdata', target, '--wal-method', 'stream', '--checkpoint', 'fast'],
      ]);
      await rm(node.data, { recursive: true, force: true });
      renameSync(target, node.data);
      this.follow(node, primary);
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
  }

  /**
   * Takes back what a stopped former primary has written that the new one has not, and makes it a standby of that.
   * @throws Error when the two have too little in common
   */
  async rewind(node: PostgresNode, primary: PostgresNode): Promise<void> {
    const source = `${withoutPassword(primary.conninfo(node.name))} dbname=postgres`;
    await this.#run('pg_rewind', ['--target-pgdata', node.data, '--source-server', source]);
    this.follow(node, primary);
  }

  /** At its next start the node is a standby of `primary`. */
  follow(node: PostgresNode, primary: PostgresNode): void {
    // The file's last line counts.
    appendFileSync(
      join(node.data, 'postgresql.auto.conf'),
      `primary_conninfo = '${primary.conninfo(node.name)}'\nsynchronous_standby_names = ''\n`,
    );
    this.fence(node);
  }

  /** A rewind recovers the folder without the flags of its server, and would throw away the very log that it needs. */
  keepLog({ data }: PostgresNode): void {
    const path = join(data, 'postgresql.auto.conf');
    const setting = `wal_keep_size = '${KEPT_LOG}'`;
    if (!readFileSync(path, 'utf8').includes(setting)) appendFileSync(path, `${setting}\n`);
  }

  /** Whatever the node was: it does not start as a primary. */
  fence({ data }: PostgresNode): void {
    const { account } = this.#installation;
    const path = join(data, 'standby.signal');
    writeFileSync(path, '');
    if (account.kind === 'other') chownSync(path, account.uid, account.gid);
  }

  exists({ data }: PostgresNode): boolean {
    return existsSync(join(data, 'PG_VERSION'));
  }

  #run(tool: string, args: readonly string[]): Promise<void> {
    const { account, binary, folder, password } = this.#installation;
    const command = asAccount(account, binary(tool), args);
    // Not on the command line, which every user of the machine can read.
    const env = { ...this.#context.env, PGPASSWORD: password, LC_ALL: 'C' };
    const { signal } = this.#context;
    const options = { cwd: folder, env, signal, ...command.account };
    return new Promise((resolve, reject) => {
      execFile(command.command, [...command.args], options, (error, _stdout, stderr) => {
        if (error === null) resolve();
        else reject(new Error(`${tool}: ${(stderr || error.message).trim().split('\n').at(-1)}`));
      });
    });
  }
}

function withoutPassword(conninfo: string): string {
  return conninfo.replace(/ password=\S+/, '');
}
