// The shipped catalogue with a pool changed, as a file that a system is started with.
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { ROOT } from './test-home.ts';

/** Path of a new file; CATALOG_PATH is for it. @param change fields of the pool `default` */
export function changedCatalog(change: object): string {
  const shipped = parse(readFileSync(join(ROOT, 'config', 'catalog.yaml'), 'utf8')) as {
    pools: Record<string, object>;
  };
  const catalog = {
    ...shipped,
    pools: { ...shipped.pools, default: { ...shipped.pools['default'], ...change } },
  };
  const path = join(mkdtempSync(join(tmpdir(), 'colloquy-catalog-')), 'catalog.yaml');
  writeFileSync(path, stringify(catalog));
  return path;
}
