// Where this installation's files are, the same from the sources and from dist/. The only user of __dirname beside
// inference/native.ts.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The folder that holds package.json. */
export const PROJECT_ROOT = findRoot(__dirname);

/** A path below the project root. */
export function projectPath(...parts: readonly string[]): string {
  return join(PROJECT_ROOT, ...parts);
}

function findRoot(folder: string): string {
  if (existsSync(join(folder, 'package.json'))) return folder;
  const parent = dirname(folder);
  if (parent === folder)
    throw new Error('no package.json above this file: the installation is incomplete');
  return findRoot(parent);
}
