// The full Temporal server and its schema tool, built from their Go module at a pinned version by the machine's own Go.
// No part of the default set-up: the embedded development server needs no compiler and no second database.
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ServiceContext } from '../embedded-service.ts';

const run = promisify(execFile);

export const TEMPORAL_SERVER_VERSION = '1.32.0';
const MODULE = `go.temporal.io/server`;
const PROGRAMS = ['cmd/server', 'cmd/tools/sql'];

export interface TemporalBuild {
  readonly server: string;
  readonly sqlTool: string;
  /** Holds `temporal/versioned` and `visibility/versioned`. */
  readonly schemas: string;
}

/**
 * Builds once a home: minutes with a cold cache, nothing when it is there. The folder is filled aside and renamed.
 * @throws Error in one line when there is no Go, or its build fails
 */
export async function temporalBuild(context: ServiceContext): Promise<TemporalBuild> {
  const { home, progress, env, signal } = context;
  const target = join(home.runtime, `temporal-server-${TEMPORAL_SERVER_VERSION}`);
  if (!existsSync(target)) {
    const task = `Temporal server ${TEMPORAL_SERVER_VERSION} from its Go module (minutes)`;
    progress.begin(task);
    const draft = mkdtempSync(join(home.runtime, '.temporal-server-'));
    const go = async (...args: string[]): Promise<string> => {
      const options = { cwd: draft, env: { ...env, GOBIN: draft, GOFLAGS: '-trimpath' }, signal };
      return (await run('go', args, options)).stdout;
    };
    try {
      const packages = PROGRAMS.map((name) => `${MODULE}/${name}@v${TEMPORAL_SERVER_VERSION}`);
      await go('install', ...packages);
      const answer = await go('mod', 'download', '-json', `${MODULE}@v${TEMPORAL_SERVER_VERSION}`);
      const { Dir: source } = JSON.parse(answer) as { Dir: string };
      cpSync(join(source, 'schema', 'postgresql', 'v12'), join(draft, 'schemas'), {
        recursive: true,
      });
      renameSync(draft, target);
    } catch (error) {
      const { code, stderr, message } = error as {
        code?: unknown;
        stderr?: string;
        message: string;
      };
      const why =
        code === 'ENOENT' ? 'there is no "go" (1.26 or later)' : stderr?.trim() || message;
      throw new Error(`Temporal's server could not be built: ${why}`, { cause: error });
    } finally {
      rmSync(draft, { recursive: true, force: true });
    }
    progress.done(task);
  }
  return {
    server: join(target, 'server'),
    sqlTool: join(target, 'sql'),
    schemas: join(target, 'schemas'),
  };
}
