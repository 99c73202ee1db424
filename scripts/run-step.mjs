// Runs one command of a build: its output goes to a log, its last line to the progress, its end into an error.
import { spawn } from 'node:child_process';
import { createWriteStream, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';

const MAX_ERROR_LINES = 25;

/** Thrown when a command fails; the message holds the end of its output. */
export class StepError extends Error {
  name = 'StepError';
}

/**
 * @param {{ progress, task: string, command: string[], cwd: string, log: string, env?: object }} step
 * @returns {Promise<string>} what the command wrote
 */
export async function runStep({ progress, task, command, cwd, log, env = process.env }) {
  mkdirSync(dirname(log), { recursive: true, mode: 0o700 });
  const file = createWriteStream(log, { flags: 'a' });
  file.write(`\n$ ${command.join(' ')}\n`);
  progress.begin(task);
  const output = [];
  // A process group of its own, so that a compiler's compilers end with it.
  const child = spawn(command[0], command.slice(1), {
    cwd,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (text) => {
      output.push(text);
      file.write(text);
      const line = text.trim().split('\n').at(-1)?.trim() ?? '';
      if (line !== '') progress.update(task, line.slice(0, 60));
    });
  }
  const stopChild = () => process.kill(-child.pid, 'SIGTERM');
  process.once('exit', stopChild);
  const fault = await new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(code === 0 ? null : `exit ${code ?? signal}`));
  });
  process.removeListener('exit', stopChild);
  await new Promise((resolve) => file.end(resolve));
  const text = output.join('');
  if (fault !== null) {
    const tail = text.trimEnd().split('\n').slice(-MAX_ERROR_LINES).join('\n');
    throw new StepError(`${task} failed (${fault}; all of it is in ${log}):\n${tail}`);
  }
  progress.done(task);
  return text;
}
