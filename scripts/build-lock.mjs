// One build at a time in a checkout: two starts for two homes share node_modules and dist. The lock is a listening
// socket's name where the kernel frees it with the process, so that a killed build never blocks the next.
import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const RETRY_MS = 250;

/**
 * Waits for its turn.
 * @param onWait called once when another build runs
 * @returns the release
 */
export async function acquireBuildLock(root, onWait) {
  const id = `colloquy-build-${createHash('sha256').update(root).digest('hex').slice(0, 16)}`;
  // Linux: an abstract name, gone with its process. Elsewhere: a socket file, of which a dead one refuses connections.
  const address = process.platform === 'linux' ? `\0${id}` : join(tmpdir(), `${id}.sock`);
  let hasWaited = false;
  for (;;) {
    const server = await listen(address);
    if (server !== null) return () => server.close();
    if (!address.startsWith('\0') && !(await isAlive(address))) rmSync(address, { force: true });
    if (!hasWaited) onWait();
    hasWaited = true;
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

function listen(address) {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error) => {
      if (error.code !== 'EADDRINUSE') reject(error);
      else resolve(null);
    });
    server.listen(address, () => {
      server.unref();
      resolve(server);
    });
  });
}

function isAlive(address) {
  return new Promise((resolve) => {
    const socket = connect(address, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
