// A real nginx on this machine for measurements and tests: Debian's own nginx.conf with a site of ours in it, or with the
// least that a site can be.
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deployConfig } from '../../runtime/deploy/config-file.ts';

/** `default`: a bare proxy_pass in Debian's configuration. `ours`: docs/deploy/nginx.conf. */
export type Site = 'default' | 'ours';

export interface RunningNginx {
  /** `https://127.0.0.1:port` of ours, which also speaks HTTP/2; `http://…` of the default. */
  readonly url: string;
  stop(): Promise<void>;
}

const DEBIAN_CONFIG = '/etc/nginx/nginx.conf';
const START_LIMIT_MS = 5000;

/** Debian's nginx with its configuration, or null. */
export function findNginx(): string | null {
  try {
    readFileSync(DEBIAN_CONFIG);
    const path = 'PATH=$PATH:/usr/sbin; command -v nginx';
    return execFileSync('/bin/sh', ['-c', path], { encoding: 'utf8' }).trim();
  } catch {
    return null;
  }
}

/**
 * @param root the checkout
 * @param upstream base URL of the gateway, or of the nginx behind this one
 * @param changes of the site's text, from → to
 * @throws Error with nginx's own words when it does not start
 */
export async function startNginx(
  root: string,
  site: Site,
  upstream: string,
  changes: Readonly<Record<string, string>> = {},
): Promise<RunningNginx> {
  const nginx = findNginx();
  if (nginx === null) throw new Error('There is no nginx with /etc/nginx/nginx.conf.');
  const folder = mkdtempSync(join(tmpdir(), 'colloquy-nginx-'));
  chmodSync(folder, 0o755); // its workers are another user
  const port = await freePort();
  const text =
    site === 'ours' ? ourSite(root, folder, port, upstream) : defaultSite(port, upstream);
  const changed = Object.entries(changes).reduce((all, [from, to]) => {
    if (!all.includes(from)) throw new Error(`The site has no "${from}".`);
    return all.replaceAll(from, to);
  }, text);
  const configuration = join(folder, 'nginx.conf');
  writeFileSync(configuration, debianConfig(folder, changed));
  const child = spawn(nginx, ['-p', folder, '-c', configuration, '-g', 'daemon off;'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (part: string) => (said += part));
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    await exited;
    rmSync(folder, { recursive: true, force: true });
  };
  for (const deadline = Date.now() + START_LIMIT_MS; !(await accepts(port));) {
    if (child.exitCode === null && Date.now() < deadline) continue;
    await stop();
    throw new Error(`nginx did not start: ${said.trim()}`);
  }
  return { url: `${site === 'ours' ? 'https' : 'http'}://127.0.0.1:${port}`, stop };
}

/** What Debian installs, with the paths of one run instead of the machine's. */
function debianConfig(folder: string, site: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${folder}/${name};`,
  );
  return readFileSync(DEBIAN_CONFIG, 'utf8')
    .replace(/^pid .*$/m, `pid ${folder}/nginx.pid;`)
    .replace(/^error_log .*$/m, 'error_log stderr;')
    .replace(/^\s*error_log .*$/gm, 'error_log stderr;')
    .replace(/^\s*include \/etc\/nginx\/modules-enabled.*$/m, '')
    .replace(/^\s*access_log .*$/m, 'access_log off;')
    .replace(/^\s*include \/etc\/nginx\/conf\.d.*$/m, () => `${temporary.join('\n')}\n${site}`)
    .replace(/^\s*include \/etc\/nginx\/sites-enabled.*$/m, '');
}

function defaultSite(port: number, upstream: string): string {
  return `server {\n  listen 127.0.0.1:${port};\n  location / {\n    proxy_pass ${upstream};\n  }\n}\n`;
}

function ourSite(root: string, folder: string, port: number, upstream: string): string {
  const [certificate, key] = [join(folder, 'certificate.pem'), join(folder, 'key.pem')];
  const subject = ['-subj', '/CN=127.0.0.1', '-days', '2', '-nodes', '-newkey', 'rsa:2048'];
  execFileSync('openssl', ['req', '-x509', ...subject, '-keyout', key, '-out', certificate], {
    stdio: 'ignore',
  });
  const { protocol, host } = new URL(upstream);
  return deployConfig(root, 'nginx.conf', {
    '127.0.0.1:8080': host,
    'http://colloquy': `${protocol}//colloquy`,
    '443 ssl http2': `127.0.0.1:${port} ssl http2`,
    '/etc/ssl/certs/colloquy.pem': certificate,
    '/etc/ssl/private/colloquy.key': key,
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => setTimeout(() => resolve(false), 20));
  });
}
