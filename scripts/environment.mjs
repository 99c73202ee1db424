// What every script needs to know of where it runs: the checkout, the home folder, and who started it.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout. */
export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** Takes settings from the checkout's .env file, if there is one. What the environment says already wins. */
export function loadDotEnv() {
  const path = join(ROOT, '.env');
  if (existsSync(path)) process.loadEnvFile(path);
}

/** COLLOQUY_HOME, relative to the checkout. */
export function homeFolder() {
  return resolve(ROOT, process.env.COLLOQUY_HOME || '.colloquy');
}

const PARENT_POLL_MS = 500;

/**
 * Calls back once when npm is gone. npm hands SIGTERM to the shell between it and us, which ends without telling us;
 * killed, it tells nobody. Started by hand there is nothing to watch: a script may outlive the shell that started it.
 */
export function onNpmGone(callback) {
  if (process.env.npm_lifecycle_event === undefined) return;
  const ancestors = () => `${process.ppid} ${parentOf(process.ppid)}`;
  const first = ancestors();
  const timer = setInterval(() => {
    if (ancestors() === first) return;
    clearInterval(timer);
    callback();
  }, PARENT_POLL_MS);
  timer.unref();
}

/** Linux only; elsewhere the direct parent has to do. Source: proc_pid_stat(5), field 4. */
function parentOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1];
  } catch {
    return '';
  }
}
