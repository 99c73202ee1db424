// One process that is kept alive: spawned, probed until ready, restarted with back-off when it dies, stopped with a
// bound. Knows nothing of other processes; whoever owns it hears of every change.
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { identityOf } from './process-identity.ts';
import { lastLines } from './log-files.ts';
import type { ChildProcess } from 'node:child_process';
import type { ChildSpec } from './child-spec.ts';
import type { ProcessIdentity } from './process-identity.ts';

/** First wait before a restart; doubles with each death that comes too soon. */
export const FIRST_BACK_OFF_MS = 100;
export const MAX_BACK_OFF_MS = 10_000;
/** A process that lived this long starts the back-off anew. */
export const HEALTHY_LIFE_MS = 30_000;
const PROBE_MS = 50;
/** Deaths before it was ever ready that make a start fail instead of trying on. */
const MAX_START_DEATHS = 4;

/** stopped → starting → ready; any of the last two → backing-off (it died) → starting; any → stopping → stopped. */
export type ProcessState = 'stopped' | 'starting' | 'ready' | 'backing-off' | 'stopping';

/** The wait before the next start, after `numDeaths` deaths in a row (1 = the first). */
export function backOffMs(numDeaths: number): number {
  return Math.min(FIRST_BACK_OFF_MS * 2 ** (numDeaths - 1), MAX_BACK_OFF_MS);
}

export class SupervisedProcess {
  readonly spec: ChildSpec;
  private readonly onChange: (process: SupervisedProcess) => void;
  private child: ChildProcess | null = null;
  private current: ProcessIdentity | null = null;
  private currentState: ProcessState = 'stopped';
  private startedAt = 0;
  private deathsInARow = 0;
  private deathsInAll = 0;
  private timer: NodeJS.Timeout | null = null;
  private spawnFault: Error | null = null;
  private exited: Promise<void> = Promise.resolve();

  /** @param onChange called after each change of state; must not throw */
  constructor(spec: ChildSpec, onChange: (process: SupervisedProcess) => void) {
    this.spec = spec;
    this.onChange = onChange;
  }

  get state(): ProcessState {
    return this.currentState;
  }

  /** The live process, or null while there is none. */
  get identity(): ProcessIdentity | null {
    return this.current;
  }

  /** How often it died without being asked to. */
  get numDeaths(): number {
    return this.deathsInAll;
  }

  /** Spawns the process and keeps it alive until stop(). */
  start(): void {
    if (this.currentState !== 'stopped' && this.currentState !== 'backing-off') return;
    this.startedAt = Date.now();
    try {
      this.child = this.spawn();
    } catch (error) {
      this.spawnFault = error as Error;
      this.onDeath();
      return;
    }
    const { pid } = this.child;
    this.current = pid === undefined ? null : { pid, identity: identityOf(pid) ?? 'gone' };
    this.setState('starting');
    if (pid !== undefined) this.probeLater(this.child);
  }

  /**
   * Resolves when the process is ready.
   * @throws Error with the end of its log when it dies again and again, or is not ready in time
   */
  async whenReady(timeoutMs: number): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    const deathsBefore = this.deathsInAll - this.deathsInARow;
    while (this.currentState !== 'ready') {
      if (this.currentState === 'stopping' || this.currentState === 'stopped')
        throw new Error(`${this.spec.name} was stopped before it was ready.`);
      if (this.deathsInAll - deathsBefore >= MAX_START_DEATHS)
        throw this.startError('ends as soon as it starts');
      if (Date.now() > deadline)
        throw this.startError(`was not ready within ${Math.round(timeoutMs / 1000)} s`);
      await new Promise((resolve) => setTimeout(resolve, PROBE_MS / 2));
    }
  }

  /** Asks the process to stop, waits, kills it when it does not; also when it is suspended. Idempotent. */
  async stop(): Promise<void> {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    const { child } = this;
    if (child === null || child.pid === undefined) {
      this.setState('stopped');
      return;
    }
    this.setState('stopping');
    child.kill(this.spec.stopSignal);
    child.kill('SIGCONT'); // a suspended process would not see the first signal
    const killer = setTimeout(() => this.kill(), this.spec.stopMs);
    await this.exited;
    clearTimeout(killer);
    this.setState('stopped');
  }

  /** Stops in order, starts anew and resolves when that one is ready. @throws Error as whenReady() */
  async restart(timeoutMs: number): Promise<void> {
    await this.stop();
    this.deathsInARow = 0;
    this.start();
    await this.whenReady(timeoutMs);
  }

  /** Ends the process and what it spawned at once. */
  kill(): void {
    const pid = this.child?.pid;
    if (pid === undefined) return;
    try {
      process.kill(-pid, 'SIGKILL'); // its own group, see spawn()
    } catch {
      this.child?.kill('SIGKILL');
    }
  }

  private spawn(): ChildProcess {
    const { spec } = this;
    spec.beforeSpawn?.();
    const log = openSync(spec.log, 'a', 0o600);
    try {
      const child = spawn(spec.command, [...spec.args], {
        env: { ...spec.env },
        cwd: spec.workingFolder,
        stdio: ['ignore', log, log],
        // A session of its own: Ctrl-C at a terminal must reach the supervisor only, which then stops all in order.
        detached: true,
        ...spec.account,
      });
      this.exited = new Promise((resolve) => {
        child.once('exit', () => resolve(this.onExit(child)));
        child.once('error', () =>
          resolve(child.pid === undefined ? this.onExit(child) : undefined),
        );
      });
      return child;
    } finally {
      closeSync(log);
    }
  }

  private onExit(child: ChildProcess): void {
    if (child !== this.child) return;
    this.child = null;
    this.current = null;
    if (this.currentState !== 'stopping') this.onDeath();
  }

  private onDeath(): void {
    this.deathsInAll += 1;
    this.deathsInARow = Date.now() - this.startedAt >= HEALTHY_LIFE_MS ? 1 : this.deathsInARow + 1;
    if (this.spec.onDeath?.() !== false)
      this.timer = setTimeout(() => this.start(), backOffMs(this.deathsInARow));
    this.setState('backing-off');
  }

  private probeLater(child: ChildProcess): void {
    const probe = async (): Promise<void> => {
      const isReady = await this.spec.isReady();
      if (child !== this.child || this.currentState !== 'starting') return;
      if (isReady) this.setState('ready');
      else this.probeLater(child);
    };
    this.timer = setTimeout(() => void probe(), PROBE_MS);
  }

  private setState(state: ProcessState): void {
    if (this.currentState === state) return;
    this.currentState = state;
    this.onChange(this);
  }

  private startError(what: string): Error {
    const tail = this.spawnFault?.message ?? lastLines(this.spec.log, 5);
    return new Error(
      `${this.spec.name} ${what}; its log is ${this.spec.log}${tail === '' ? '' : `\n${tail}`}`,
    );
  }
}
