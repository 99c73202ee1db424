// PostgreSQL refuses to run as root. Under root it therefore runs in a user namespace, where the same files belong to an
// ordinary user; where namespaces are forbidden it runs as an unprivileged account of the machine, with its binaries
// and data outside of root's own folders.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chownSync, cpSync, existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { basename, join } from 'node:path';

export type PostgresAccount =
  | { readonly kind: 'own' }
  | { readonly kind: 'namespace' }
  | { readonly kind: 'other'; readonly uid: number; readonly gid: number };

/** A command with what spawn needs to run it under an account. */
export interface AccountCommand {
  readonly command: string;
  readonly args: readonly string[];
  readonly account?: { readonly uid: number; readonly gid: number };
}

/** Root's folder for data of an unprivileged account: kept over restarts and reachable, unlike a home or /tmp. */
export const SHARED_FOLDER = '/var/lib/colloquy';
// Any uid but 0 does; the files appear to belong to it inside the namespace.
const NAMESPACE = ['--user', '--map-user=1000'];

/** @throws Error when the machine offers no way at all */
export function choosePostgresAccount(
  isRoot: boolean,
  hasNamespaces: () => boolean = userNamespacesWork,
): PostgresAccount {
  if (!isRoot) return { kind: 'own' };
  if (hasNamespaces()) return { kind: 'namespace' };
  for (const name of ['postgres', 'nobody']) {
    const found = accountNamed(name, readFileSync('/etc/passwd', 'utf8'));
    if (found !== null) return { kind: 'other', ...found };
  }
  throw new Error(
    'PostgreSQL cannot run as root here (no user namespaces, no unprivileged account): start as another user, or set DATABASE_URL.',
  );
}

/** The command as it must be spawned. */
export function asAccount(
  account: PostgresAccount,
  command: string,
  args: readonly string[],
): AccountCommand {
  if (account.kind === 'namespace')
    return { command: 'unshare', args: [...NAMESPACE, command, ...args] };
  if (account.kind === 'other')
    return { command, args, account: { uid: account.uid, gid: account.gid } };
  return { command, args };
}

/**
 * Folders that the account can reach.
 * @param homePostgres COLLOQUY_HOME/postgres
 * @param wheel the unpacked wheel
 * @param sharedFolder where an unprivileged account's data and binaries go
 * @returns where data and binaries are for this account; both exist
 */
export function reachableFolders(
  account: PostgresAccount,
  homePostgres: string,
  wheel: string,
  sharedFolder: string,
): { data: string; wheel: string } {
  if (account.kind !== 'other') return { data: homePostgres, wheel };
  const data = join(
    sharedFolder,
    createHash('sha256').update(homePostgres).digest('hex').slice(0, 12),
  );
  const copy = join(sharedFolder, basename(wheel));
  mkdirSync(sharedFolder, { recursive: true, mode: 0o755 });
  mkdirSync(data, { recursive: true, mode: 0o700 });
  chownSync(data, account.uid, account.gid);
  if (!existsSync(copy)) {
    const draft = `${copy}.${process.pid}.tmp`;
    cpSync(wheel, draft, { recursive: true });
    renameSync(draft, copy);
  }
  return { data, wheel: copy };
}

/** uid and gid of an account in the text of a passwd file; root's never. Source: passwd(5). */
export function accountNamed(name: string, passwd: string): { uid: number; gid: number } | null {
  for (const line of passwd.split('\n')) {
    const [entry, , uid, gid] = line.split(':');
    if (entry === name && Number(uid) > 0) return { uid: Number(uid), gid: Number(gid) };
  }
  return null;
}

function userNamespacesWork(): boolean {
  try {
    execFileSync('unshare', [...NAMESPACE, 'true'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
