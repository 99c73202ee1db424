// Builds inference/native into inference/native/build/engine.node, unless its sources are unchanged since the last build.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const crate = join(dirname(fileURLToPath(import.meta.url)), '..', 'inference', 'native');
const built = join(crate, 'build', 'engine.node');
const stamp = join(crate, 'build', 'engine.hash');
const LIBRARY = { linux: 'libcolloquy_native.so', darwin: 'libcolloquy_native.dylib' };

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

const cargo = spawnSync('cargo', ['--version'], { encoding: 'utf8' });
if (cargo.status !== 0)
  fail('cargo is missing: install Rust (https://rustup.rs), then run this again.');

const sources = [
  'Cargo.toml',
  'Cargo.lock',
  'build.rs',
  ...readdirSync(join(crate, 'src'), { recursive: true }).map((name) => join('src', name)),
];
const hash = createHash('sha256')
  .update(cargo.stdout)
  .update(process.platform + process.arch);
for (const name of sources.filter((each) => /\.(rs|toml|lock)$/.test(each)).sort())
  hash.update(name).update(readFileSync(join(crate, name)));
const wanted = hash.digest('hex');
if (existsSync(built) && existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted)
  process.exit(0);

const library = LIBRARY[process.platform];
if (library === undefined)
  fail(`The engine does not build on ${process.platform}; use Linux or macOS.`);
const build = spawnSync('cargo', ['build', '--release', '--locked'], {
  cwd: crate,
  stdio: 'inherit',
});
if (build.status !== 0) fail('The native engine did not build; the lines above say why.');
mkdirSync(dirname(built), { recursive: true });
// By a rename: a process that has the old addon mapped keeps it.
copyFileSync(join(crate, 'target', 'release', library), `${built}.new`);
renameSync(`${built}.new`, built);
writeFileSync(stamp, wanted);
