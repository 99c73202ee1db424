import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isPortFree, PortBook } from '../../../runtime/ports.ts';
import type { AddressInfo, Server } from 'node:net';

describe('PortBook', () => {
  let folder: string;
  let path: string;
  const servers: Server[] = [];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ports-'));
    path = join(folder, 'ports.json');
  });

  afterEach(async () => {
    await Promise.all(
      servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))),
    );
    rmSync(folder, { recursive: true });
  });

  async function occupy(port: number): Promise<number> {
    const server = createServer();
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    return (server.address() as AddressInfo).port;
  }

  it('stays below the ephemeral ranges of Linux and macOS', async () => {
    const book = new PortBook(path);
    for (let index = 0; index < 20; index += 1) {
      const port = await book.portFor(`name-${index}`);
      expect(port).toBeGreaterThanOrEqual(20_000);
      expect(port).toBeLessThan(32_768);
    }
  });

  it('never gives two names one port, also when both ask at once', async () => {
    const book = new PortBook(path);
    const preferred = await new PortBook(join(folder, 'other.json')).portFor('x');
    const ports = await Promise.all(
      Array.from({ length: 30 }, (_, index) => book.portFor(`name-${index}`, preferred)),
    );
    expect(new Set(ports).size).toBe(30);
    expect(await book.portFor('late', ports[0])).not.toBe(ports[0]);
  });

  it('keeps a name’s port over starts', async () => {
    const first = new PortBook(path);
    const port = await first.portFor('postgres');
    first.save();
    expect(await new PortBook(path).portFor('postgres')).toBe(port);
  });

  it('gives another port when the remembered one is in use', async () => {
    const first = new PortBook(path);
    const port = await first.portFor('postgres');
    first.save();
    await occupy(port);
    expect(await new PortBook(path).portFor('postgres')).not.toBe(port);
  });

  it('prefers the port that was asked for to the remembered one', async () => {
    const first = new PortBook(path);
    await first.portFor('gateway');
    first.save();
    const wanted = await new PortBook(join(folder, 'other.json')).portFor('x');
    expect(await new PortBook(path).portFor('gateway', wanted)).toBe(wanted);
  });

  it('sees that a port is in use', async () => {
    expect(await isPortFree(await occupy(0))).toBe(false);
  });
});
