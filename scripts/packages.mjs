// Whether node_modules is what package-lock.json says, without asking npm, which takes seconds to answer.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Compares the lock with the one that npm leaves in node_modules. Optional packages may be absent: they are for other
 * platforms.
 */
export function packagesAreInstalled(root) {
  const installedLock = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(installedLock)) return false;
  const wanted = packagesOf(join(root, 'package-lock.json'));
  const installed = packagesOf(installedLock);
  return Object.entries(wanted).every(([path, wants]) => {
    if (path === '') return true;
    const has = installed[path];
    if (has === undefined) return wants.optional === true || wants.peer === true;
    return has.version === wants.version && has.integrity === wants.integrity;
  });
}

const packagesOf = (path) => JSON.parse(readFileSync(path, 'utf8')).packages ?? {};
