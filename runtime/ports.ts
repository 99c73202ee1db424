// Loopback ports for services and processes. A name keeps its port over restarts and over starts, so URLs stay true.
import { createServer } from 'node:net';
import { z } from 'zod';
import { readJson, writeFileAtomically } from './home-folder.ts';

/*
 * Below every system's ephemeral range (Linux from 32768, macOS from 49152). A client that retries a dead port inside
 * that range can be given the very port as its source, connect to itself, and keep the restarted service from binding.
 */
const FIRST_PORT = 20_000;
const LAST_PORT = 31_999;
const MAX_TRIES = 200;

const portsSchema = z.record(z.string(), z.int().min(1).max(65_535));

export class PortBook {
  private readonly path: string;
  private readonly ports: Record<string, number>;
  private readonly taken = new Set<number>();

  /** @param path JSON file that remembers name → port between starts */
  constructor(path: string) {
    this.path = path;
    const known = portsSchema.safeParse(readJson(path));
    this.ports = known.success ? known.data : {};
  }

  /**
   * The port of `name`: the preferred one, else the one it had, else any free one. Nobody else is given it.
   * @throws Error when no free port is found
   */
  async portFor(name: string, preferred?: number): Promise<number> {
    for (const candidate of [preferred, this.ports[name]]) {
      if (candidate !== undefined && (await this.isUsable(candidate)))
        return this.keep(name, candidate);
    }
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const candidate = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT + 1));
      if (await this.isUsable(candidate)) return this.keep(name, candidate);
    }
    throw new Error(`No free port was found between ${FIRST_PORT} and ${LAST_PORT}.`);
  }

  /** Remembers all given ports for the next start. */
  save(): void {
    writeFileAtomically(this.path, JSON.stringify(this.ports, null, 2));
  }

  private async isUsable(port: number): Promise<boolean> {
    if (this.taken.has(port)) return false;
    // Claimed before the check: two callers at once must not be told the same port.
    this.taken.add(port);
    const isFree = await isPortFree(port);
    this.taken.delete(port);
    return isFree && !this.taken.has(port);
  }

  private keep(name: string, port: number): number {
    this.taken.add(port);
    this.ports[name] = port;
    return port;
  }
}

/** Whether a server could listen on this port of 127.0.0.1 now. */
export function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ host: '127.0.0.1', port, exclusive: true }, () =>
      probe.close(() => resolve(true)),
    );
  });
}
