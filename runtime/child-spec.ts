// What the supervisor needs to know of a process, as data: how to run it, when it is ready, how it stops. Knows none
// of them by name.

export const PROCESS_KINDS = Object.freeze([
  'gateway',
  'turn-worker',
  'inference-worker',
  'background-worker',
  'postgres',
  'redis',
  'temporal',
  'supervisor',
] as const);
export type ProcessKind = (typeof PROCESS_KINDS)[number];

export interface ChildSpec {
  /** Unique in one system; also the name of its log. */
  readonly name: string;
  readonly kind: ProcessKind;
  readonly pool?: string;
  readonly command: string;
  readonly args: readonly string[];
  /** The whole environment of the process. */
  readonly env: Readonly<Record<string, string>>;
  readonly workingFolder: string;
  /** User to run as, when it is not the supervisor's own. */
  readonly account?: { readonly uid: number; readonly gid: number };
  /** File that stdout and stderr are appended to. */
  readonly log: string;
  readonly metricsUrl?: string;
  /** Runs before each spawn, restarts included. */
  readonly beforeSpawn?: () => void;
  /** Hears that it died without being asked to. False: its owner says when it starts again. */
  readonly onDeath?: () => boolean;
  /** One probe: true when the process can do its work. Never throws, answers within a second or two. */
  readonly isReady: () => Promise<boolean>;
  /** How the process is asked to stop in order. */
  readonly stopSignal: NodeJS.Signals;
  /** How long it may take before it is killed. */
  readonly stopMs: number;
}
