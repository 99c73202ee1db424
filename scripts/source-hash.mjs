// Tells whether a build step's inputs changed: one hash over the content and the names of files.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

/**
 * @param root the checkout
 * @param paths files and folders in it; what does not exist counts as empty
 * @param matches which files of a folder count
 * @returns hex SHA-256
 */
export function sourceHash(root, paths, matches = () => true) {
  const hash = createHash('sha256');
  for (const path of paths.flatMap((each) => filesBelow(root, each, matches)).sort()) {
    hash
      .update(`${path}\0`)
      .update(readFileSync(join(root, path)))
      .update('\0');
  }
  return hash.digest('hex');
}

/** Names of files below a path, relative to the root. */
export function filesBelow(root, path, matches) {
  const full = join(root, path);
  if (!existsSync(full)) return [];
  if (!statSync(full).isDirectory()) return [path];
  return readdirSync(full, { withFileTypes: true }).flatMap((entry) => {
    const below = join(path, entry.name);
    if (entry.isDirectory())
      return entry.name === 'node_modules' || entry.name === 'target'
        ? []
        : filesBelow(root, below, matches);
    return matches(below) ? [below] : [];
  });
}
