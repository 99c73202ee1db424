import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const SCRIPTS = resolve(__dirname, '..', '..', '..', 'scripts');

/** Runs code that may import from scripts/ by `load(name)`, in a Node of its own, and gives what it returns. */
function inNode(code: string, ...args: string[]): unknown {
  const load = `const load = (name) => import(${JSON.stringify(`${pathToFileURL(SCRIPTS).href}/`)} + name);`;
  const whole = `${load} const [a, b] = process.argv.slice(1); (async () => { ${code} })().then((value) => console.log(JSON.stringify(value)))`;
  return JSON.parse(
    execFileSync(process.execPath, ['-e', whole, '--', ...args], { encoding: 'utf8' }),
  );
}

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'scripts-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('preflight', () => {
  it('names each missing tool in one line with how to get it', () => {
    const code = `
      const { missingTools } = await load('preflight.mjs');
      return missingTools([{ name: 'no-such-tool', command: ['no-such-tool-here'], hint: 'get it' }, { name: 'node', command: [process.execPath, '--version'], hint: '' }], '20.18.1');`;
    expect(inNode(code)).toEqual([
      expect.stringMatching(/^Node 20\.18\.1 is too old: install Node 20\.19 or later/),
      'no-such-tool is missing: get it.',
    ]);
  });

  it.each([
    ['20.19.0', 0],
    ['22.0.0', 0],
    ['20.18.9', 1],
    ['18.20.0', 1],
  ])('judges Node %s', (version, numLines) => {
    expect(
      inNode(
        `const { missingTools } = await load('preflight.mjs'); return missingTools([], a);`,
        version,
      ),
    ).toHaveLength(numLines);
  });
});

describe('packages', () => {
  const check = (): unknown =>
    inNode(`return (await load('packages.mjs')).packagesAreInstalled(a);`, folder);
  const write = (wanted: object, installed: object | null): void => {
    writeFileSync(join(folder, 'package-lock.json'), JSON.stringify({ packages: wanted }));
    if (installed === null) return;
    mkdirSync(join(folder, 'node_modules'));
    writeFileSync(
      join(folder, 'node_modules', '.package-lock.json'),
      JSON.stringify({ packages: installed }),
    );
  };
  const pkg = (version: string, more = {}): object => ({
    version,
    integrity: `sha512-${version}`,
    ...more,
  });

  it.each([
    ['sees that nothing is installed', { 'node_modules/a': pkg('1.0.0') }, null, false],
    [
      'accepts what the lock says',
      { '': {}, 'node_modules/a': pkg('1.0.0') },
      { 'node_modules/a': pkg('1.0.0') },
      true,
    ],
    [
      'sees another version',
      { 'node_modules/a': pkg('1.0.1') },
      { 'node_modules/a': pkg('1.0.0') },
      false,
    ],
    [
      'sees a package that is missing',
      { 'node_modules/a': pkg('1.0.0'), 'node_modules/b': pkg('1.0.0') },
      { 'node_modules/a': pkg('1.0.0') },
      false,
    ],
    [
      'lets packages of other platforms be absent',
      { 'node_modules/a': pkg('1.0.0', { optional: true }) },
      {},
      true,
    ],
  ])('%s', (_claim, wanted, installed, expected) => {
    write(wanted, installed);
    expect(check()).toBe(expected);
  });
});

describe('source hash', () => {
  const hash = (): unknown =>
    inNode(
      `return (await load('source-hash.mjs')).sourceHash(a, ['src', 'absent'], (path) => path.endsWith('.ts'));`,
      folder,
    );

  it('changes with a source’s text and name, and with nothing else', () => {
    mkdirSync(join(folder, 'src', 'deep'), { recursive: true });
    writeFileSync(join(folder, 'src', 'deep', 'a.ts'), 'one');
    const first = hash();
    writeFileSync(join(folder, 'src', 'notes.md'), 'not a source');
    expect(hash()).toBe(first);
    writeFileSync(join(folder, 'src', 'deep', 'a.ts'), 'two');
    const second = hash();
    expect(second).not.toBe(first);
    writeFileSync(join(folder, 'src', 'deep', 'b.ts'), '');
    expect(hash()).not.toBe(second);
  });
});

describe('build lock', () => {
  it('lets one build run at a time and is free when its holder is killed', async () => {
    const url = pathToFileURL(join(SCRIPTS, 'build-lock.mjs')).href;
    const holder = spawn(
      process.execPath,
      [
        '-e',
        `import(${JSON.stringify(url)}).then((m) => m.acquireBuildLock(process.argv[1], () => {})).then(() => { console.log('held'); setInterval(() => {}, 1000); })`,
        '--',
        folder,
      ],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    await new Promise((done) => holder.stdout.once('data', done));
    const code = `
      const { acquireBuildLock } = await load('build-lock.mjs');
      let waited = false;
      const release = await acquireBuildLock(a, () => { waited = true; process.kill(Number(b), 'SIGKILL'); });
      release();
      return waited;`;
    expect(inNode(code, folder, String(holder.pid))).toBe(true);
  });
});

describe('progress', () => {
  it('writes plain lines when it is not on a terminal', () => {
    const code = `
      const { createProgress } = await load('progress.mjs');
      const lines = [];
      const progress = createProgress({ write: (text) => lines.push(text) });
      progress.begin('weights');
      progress.update('weights', { bytes: 1500000, totalBytes: 3000000 });
      progress.done('weights', '3 MB');
      progress.line('hello');
      progress.close();
      return lines;`;
    expect(inNode(code)).toEqual([
      '  weights\n',
      expect.stringMatching(/^✓ weights \(3 MB, 0\.\d s\)\n$/),
      'hello\n',
    ]);
  });

  it('redraws one line on a terminal with bytes and seconds', () => {
    const code = `
      const { createProgress } = await load('progress.mjs');
      const text = [];
      const progress = createProgress({ isTTY: true, columns: 80, write: (each) => text.push(each) });
      progress.begin('weights');
      progress.update('weights', { bytes: 1500000, totalBytes: 3000000 });
      while (!text.join('').includes('\\u001b')) await new Promise((resolve) => setTimeout(resolve, 10));
      progress.close();
      return text.join('');`;
    const [first, second] = String(inNode(code)).split('\r\u{1b}[2K');
    expect(first).toMatch(/^. weights 1\.5 of 3\.0 MB 0\.\d s$/);
    expect(second).toMatch(/^. weights/);
  });
});
