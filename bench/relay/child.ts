// Child processes of the relay bench: started, waited for, stopped by their own handle.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { openSync } from 'node:fs';

export interface Running {
  readonly pid: number;
  stop(): Promise<void>;
}

export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

/** @param log file that gets what it says */
export function run(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  log: string,
): Running {
  const out = openSync(log, 'w');
  const child: ChildProcess = spawn(command, args, {
    stdio: ['ignore', out, out],
    env: { ...process.env, ...env },
  });
  killAtExit(child);
  return {
    pid: child.pid ?? NaN,
    stop: async () => {
      if (child.exitCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
      await ended;
      clearTimeout(timer);
    },
  };
}

/** Resolves when `url` answers with any status below 500. @throws Error after `seconds` */
export async function answers(url: string, init: RequestInit = {}, seconds = 90): Promise<void> {
  let last: unknown;
  for (let tries = 0; tries < seconds * 2; tries += 1) {
    try {
      const response = await fetch(url, init);
      await response.arrayBuffer();
      if (response.status < 400) return;
      last = response.status;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  throw new Error(`${url} does not answer: ${String(last)}`);
}

/** However the bench ends, its children do not outlive it. */
export function killAtExit(child: ChildProcess): void {
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  child.once('exit', () => process.removeListener('exit', kill));
}
