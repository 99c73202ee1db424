// What a nemesis may do, and which combinations it leaves out: those of "Known limits" in docs/failure-modes.md, and those that
// only prolong a fault.

/** What a target is, which decides what may be done to it and what may not be done near it. */
export type TargetClass =
  | 'gateway'
  | 'turn-worker'
  | 'inference-worker'
  | 'background-worker'
  | 'postgres'
  | 'redis'
  | 'temporal'
  | 'network';

export interface Target {
  /** Of the process; `network:redis` and so on for a proxy; `valkey-primary-2` for whichever node that is then. */
  readonly name: string;
  readonly kind: TargetClass;
  /** A kill of this one loses what it holds in memory, and nobody else has it. */
  readonly forgets?: boolean;
}

export const PROCESS_ACTIONS = ['kill', 'freeze', 'restart'] as const;
/** See fault-proxy.ts: latency, a narrow wire, resets, a wire that holds everything back, half-open connections. */
export const NETWORK_ACTIONS = ['latency', 'narrow', 'reset', 'stall', 'half-open'] as const;
export type Action = (typeof PROCESS_ACTIONS)[number] | (typeof NETWORK_ACTIONS)[number];

export interface Step {
  /** ms after the storm began. */
  readonly at: number;
  readonly action: Action;
  readonly target: string;
  readonly kind: TargetClass;
  /** How long; 0 for what has no duration. */
  readonly ms: number;
  readonly forgets?: boolean;
}

export interface Rule {
  readonly why: string;
  /** ms between the end of one and the beginning of the other, whichever comes first. */
  readonly apartMs: number;
  readonly forbids: (one: Step, other: Step) => boolean;
}

const isProcessFault = ({ action }: Step): boolean => action === 'kill' || action === 'restart';
const losesMemory = (step: Step): boolean => step.forgets === true && isProcessFault(step);
const SERVICES: readonly TargetClass[] = ['postgres', 'redis', 'temporal'];

export const RULES: readonly Rule[] = Object.freeze([
  {
    // Known limit: two faults at once, Valkey loses everything and the turn's worker dies. Nobody has the tokens then.
    why: 'Valkey forgets everything while a worker is dead, frozen or taking over: a stated limit',
    apartMs: 12_000,
    forbids: (one: Step, other: Step) =>
      [
        [one, other],
        [other, one],
      ].some(
        ([lost, near]) =>
          lost !== undefined &&
          losesMemory(lost) &&
          near?.kind === 'inference-worker' &&
          lost.kind === 'redis',
      ),
  },
  {
    // A worker that cannot reach Valkey cannot put back what Valkey lost; to the turns it is as good as dead.
    why: 'Valkey forgets everything while its wire is cut: the same limit',
    apartMs: 8000,
    forbids: (one: Step, other: Step) =>
      (losesMemory(one) && one.kind === 'redis' && other.target === 'network:redis') ||
      (losesMemory(other) && other.kind === 'redis' && one.target === 'network:redis'),
  },
  {
    // The supervisor's back-off doubles up to ten seconds for what dies again and again within 30 s: that is its promise, and
    // a service that is away for a minute ends turns with an error, which is another.
    why: 'the same process dies twice within 30 s: its restarts would only come later and later',
    apartMs: 31_000,
    forbids: (one: Step, other: Step) =>
      one.target === other.target && isProcessFault(one) && isProcessFault(other),
  },
  {
    why: 'two faults of one process overlap',
    apartMs: 3000,
    forbids: (one: Step, other: Step) => one.target === other.target,
  },
  {
    // One of three services at a time; a process of ours at any time beside it.
    why: 'two services are away at once: only the sum of their times would be seen',
    apartMs: 3000,
    forbids: (one: Step, other: Step) =>
      one.target !== other.target &&
      [one, other].every(({ kind }) => SERVICES.includes(kind) || kind === 'network'),
  },
  {
    // In a cluster the vote takes as long as two of three primaries see each other; with two gone there is none.
    why: 'two members of one cluster are away at once: no majority is left',
    apartMs: 20_000,
    forbids: (one: Step, other: Step) =>
      /^(valkey|temporal)-/.test(one.target) && one.kind === other.kind,
  },
]);

/** Whether the rules allow both in one schedule. */
export function mayFollow(one: Step, other: Step): boolean {
  const [first, second] = one.at <= other.at ? [one, other] : [other, one];
  const apart = second.at - (first.at + first.ms);
  return RULES.every(({ apartMs, forbids }) => apart >= apartMs || !forbids(first, second));
}
