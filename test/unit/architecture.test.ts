import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, resolve } from 'node:path';

const ROOT = resolve(__dirname, '..', '..');

/**
 * Which folders a folder may import; `types of x` means `import type` only. README.md prints the same table, and
 * .oxlintrc.json says it a second time, in the editor.
 */
const IMPORT_TABLE: Readonly<Record<string, readonly string[]>> = {
  contracts: [],
  policy: ['contracts'],
  conversation: ['contracts'],
  inference: ['contracts'],
  process: ['contracts'],
  moderation: ['contracts', 'policy'],
  postgres: ['contracts'],
  redis: ['contracts'],
  workflows: ['contracts', 'policy', 'types of activities'],
  activities: [
    'contracts',
    'policy',
    'conversation',
    'moderation',
    'postgres',
    'redis',
    'types of inference',
    'types of process',
  ],
  gateway: [
    'contracts',
    'policy',
    'postgres',
    'redis',
    'process',
    'workflows',
    'activities',
    'moderation',
    'inference',
  ],
  workers: [
    'contracts',
    'policy',
    'conversation',
    'moderation',
    'inference',
    'process',
    'postgres',
    'redis',
    'workflows',
    'activities',
  ],
  runtime: [
    'contracts',
    'policy',
    'conversation',
    'moderation',
    'inference',
    'process',
    'postgres',
    'redis',
    'workflows',
    'activities',
  ],
};

interface Import {
  readonly from: string;
  /** Path of the imported file relative to the checkout, or a package's name. */
  readonly to: string;
  readonly isTypeOnly: boolean;
  readonly isPackage: boolean;
}

const sources = Object.keys(IMPORT_TABLE).flatMap((folder) => sourceFiles(folder));
const imports = sources.flatMap(importsOf);
const ours = imports.filter(({ isPackage }) => !isPackage);

describe('architecture', () => {
  it('is printed in README.md as it is enforced', () => {
    const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
    const printed = [...readme.matchAll(/^\| `(\w+)` +\| (.+?) +\|$/gm)].map(([, folder, list]) => [
      folder,
      list,
    ]);
    const enforced = Object.entries(IMPORT_TABLE).map(([folder, list]) => [
      folder,
      list.length === 0 ? 'nothing of ours' : list.join(', '),
    ]);
    expect(printed).toEqual(enforced);
  });

  it('lets each folder import only what the table allows', () => {
    const wrong = ours
      .filter((each) => !isAllowed(each))
      .map(({ from, to }) => `${from} imports ${to}`);
    expect(wrong).toEqual([]);
  });

  it('has no import cycles between files', () => {
    expect(cycles(ours.filter(({ isTypeOnly }) => !isTypeOnly))).toEqual([]);
  });

  it('has no barrels: every index.ts but the workflow bundle’s entry is refused', () => {
    const barrels = sources.filter(
      (path) => /(^|\/)index\.ts$/.test(path) && path !== 'workflows/index.ts',
    );
    expect(barrels).toEqual([]);
  });

  it('keeps Node’s modules and packages that do I/O out of workflows', () => {
    const allowed = /^(@temporalio\/(workflow|common)|zod)$/;
    const wrong = imports.filter(
      ({ from, to, isPackage, isTypeOnly }) =>
        from.startsWith('workflows/') && isPackage && !isTypeOnly && !allowed.test(to),
    );
    expect(wrong.map(({ from, to }) => `${from} imports ${to}`)).toEqual([]);
  });

  it('keeps SQL drivers in postgres, Redis clients in redis, and both out of everything else but the runtime’s probes', () => {
    const owners: Readonly<Record<string, readonly string[]>> = {
      pg: ['postgres', 'runtime'],
      pgvector: ['postgres'],
      ioredis: ['redis', 'runtime'],
    };
    const wrong = imports.filter(
      ({ from, to, isPackage }) =>
        isPackage && to in owners && !owners[to]?.includes(folderOf(from)),
    );
    expect(wrong.map(({ from, to }) => `${from} imports ${to}`)).toEqual([]);
  });

  it('keeps every source file at no more than 500 lines', () => {
    const long = sources.filter(
      (path) => readFileSync(join(ROOT, path), 'utf8').split('\n').length > 500,
    );
    expect(long).toEqual([]);
  });
});

function sourceFiles(folder: string): string[] {
  const entries = readdirSync(join(ROOT, folder), { withFileTypes: true, recursive: true });
  return entries
    .filter(
      (entry) => entry.isFile() && entry.name.endsWith('.ts') && !entry.name.endsWith('.d.ts'),
    )
    .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length + 1))
    .filter((path) => !/(^|\/)(node_modules|target)\//.test(path));
}

function importsOf(from: string): Import[] {
  const text = readFileSync(join(ROOT, from), 'utf8');
  const statements = text.matchAll(
    /^(?:import|export)\s+(type\s+)?(?:[^'";]*?\sfrom\s+)?'([^']+)';|import\('([^']+)'\)/gm,
  );
  return [...statements].map(([, type, stated, late]) => {
    const target = stated ?? late ?? '';
    const isPackage = !target.startsWith('.');
    return {
      from,
      to: isPackage ? packageName(target) : normalize(join(dirname(from), target)),
      isTypeOnly: type !== undefined,
      isPackage,
    };
  });
}

function packageName(target: string): string {
  return target.startsWith('@')
    ? target.split('/').slice(0, 2).join('/')
    : (target.split('/')[0] ?? target);
}

function isAllowed({ from, to, isTypeOnly }: Import): boolean {
  const allowed = IMPORT_TABLE[folderOf(from)] ?? [];
  const target = folderOf(to);
  return (
    target === folderOf(from) ||
    allowed.includes(target) ||
    (isTypeOnly && allowed.includes(`types of ${target}`))
  );
}

function folderOf(path: string): string {
  return path.split('/')[0] ?? path;
}

/** Each cycle once, as the path that closes it. */
function cycles(edges: readonly Import[]): string[] {
  const next = targetsByFile(edges);
  const done = new Set<string>();
  const found: string[] = [];
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) {
      found.push([...path.slice(path.indexOf(file)), file].join(' → '));
      return;
    }
    if (done.has(file)) return;
    for (const target of next.get(file) ?? []) visit(target, [...path, file]);
    done.add(file);
  };
  for (const file of next.keys()) visit(file, []);
  return found;
}

function targetsByFile(edges: readonly Import[]): Map<string, string[]> {
  const next = new Map<string, string[]>();
  for (const { from, to } of edges) next.set(from, [...(next.get(from) ?? []), to]);
  return next;
}
