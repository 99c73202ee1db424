// The processes of one system: adds them, writes processes.json on each change, stops them kind by kind.
import { rotateLog } from './log-files.ts';
import { ownIdentity } from './process-identity.ts';
import { writeProcesses } from './run-files.ts';
import { SupervisedProcess } from './supervised-process.ts';
import type { ChildSpec, ProcessKind } from './child-spec.ts';
import type { ProcessEntry } from './run-files.ts';

/** Those who take work over first, and of each kind one after the other; services are not restarted. */
const RESTART_ORDER: readonly ProcessKind[] = Object.freeze([
  'turn-worker',
  'background-worker',
  'inference-worker',
  'gateway',
]);

/** Intake first, then those who work on what was taken in, then what all of them need. */
export const STOP_ORDER: readonly (readonly ProcessKind[])[] = Object.freeze([
  ['gateway'],
  ['turn-worker', 'inference-worker', 'background-worker'],
  ['temporal'],
  ['postgres', 'redis'],
]);

export interface ProcessSetOptions {
  /** Path of processes.json. */
  readonly path: string;
  /** The supervisor's own entry, first in the file. */
  readonly supervisor: Omit<ProcessEntry, 'pid' | 'identity'>;
  readonly onChange: (process: SupervisedProcess) => void;
  /** The file could not be written and is out of date until the next change. */
  readonly onWriteError: (error: Error) => void;
}

export class ProcessSet {
  private readonly options: ProcessSetOptions;
  private readonly members: SupervisedProcess[] = [];
  private isStopping = false;

  constructor(options: ProcessSetOptions) {
    this.options = options;
    this.write();
  }

  get all(): readonly SupervisedProcess[] {
    return this.members;
  }

  /** Starts a process and keeps it alive until stop(). Its log of the run before is moved aside. */
  add(spec: ChildSpec): SupervisedProcess {
    if (this.isStopping) throw new Error('The system is stopping.');
    if (this.members.some((member) => member.spec.name === spec.name))
      throw new Error(`There is a process named ${spec.name} already.`);
    rotateLog(spec.log);
    const added = new SupervisedProcess(spec, (changed) => {
      this.writeOrReport();
      this.options.onChange(changed);
    });
    this.members.push(added);
    added.start();
    return added;
  }

  /**
   * Restarts our own processes one by one, each drained, and the next only when its successor is ready.
   * @throws Error when one does not become ready; the rest is left as it is
   */
  async restartEach(readyTimeoutMs: number): Promise<void> {
    for (const kind of RESTART_ORDER) {
      for (const member of this.members.filter(({ spec }) => spec.kind === kind)) {
        if (this.isStopping) return;
        await member.restart(readyTimeoutMs);
      }
    }
  }

  /** Stops all in STOP_ORDER; within a step at the same time. */
  async stop(): Promise<void> {
    this.isStopping = true;
    for (const kinds of STOP_ORDER) {
      const step = this.members.filter((member) => kinds.includes(member.spec.kind));
      await Promise.all(step.map((member) => member.stop()));
    }
  }

  /** Ends all at once, for those who cannot wait. stop() still has to be awaited. */
  kill(): void {
    for (const member of this.members) member.kill();
  }

  /** A full disk must not keep processes from being restarted. */
  private writeOrReport(): void {
    try {
      this.write();
    } catch (error) {
      this.options.onWriteError(error as Error);
    }
  }

  private write(): void {
    const entries = this.members.flatMap((member): ProcessEntry[] => {
      const { identity, spec } = member;
      if (identity === null) return [];
      return [
        {
          name: spec.name,
          kind: spec.kind,
          ...(spec.pool === undefined ? {} : { pool: spec.pool }),
          pid: identity.pid,
          log: spec.log,
          ...(spec.metricsUrl === undefined ? {} : { metrics_url: spec.metricsUrl }),
          identity: identity.identity,
        },
      ];
    });
    writeProcesses(this.options.path, [
      { ...this.options.supervisor, ...ownIdentity() },
      ...entries,
    ]);
  }
}
