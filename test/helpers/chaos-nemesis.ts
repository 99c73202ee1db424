// Carries out a schedule: kills, freezes and restarts processes, and makes the network bad. Leaves everything healed.
import type { FaultOperation } from '../../bench/chaos/history.ts';
import type { Step } from '../../bench/chaos/rules.ts';
import type { ChaosSystem } from './chaos-system.ts';
import type { NetworkFault } from './fault-proxy.ts';
import { freeze, kill, thaw } from './system-processes.ts';

const LATENCY: NetworkFault = { kind: 'latency', ms: 80, jitterMs: 120 };
const NARROW: NetworkFault = { kind: 'narrow', bytesPerSecond: 100_000 };

/**
 * Resolves when the last step is over and everything that was frozen runs.
 * @param now ms since the run began
 * @param isOver ends the storm early
 */
export async function rage(
  scene: ChaosSystem,
  steps: readonly Step[],
  now: () => number,
  record: (fault: FaultOperation) => void,
): Promise<void> {
  const begun = now();
  const underWay: Promise<void>[] = [];
  for (const step of steps) {
    await pause(begun + step.at - now());
    underWay.push(carryOut(scene, step, now, record));
  }
  await Promise.all(underWay);
}

async function carryOut(
  scene: ChaosSystem,
  { action, target, ms }: Step,
  now: () => number,
  record: (fault: FaultOperation) => void,
): Promise<void> {
  const begin = now();
  const done = (skipped?: string): void =>
    record({
      ...{ op: 'fault', action, target, begin, end: now() },
      ...(skipped === undefined ? {} : { skipped }),
    });
  const proxy = scene.proxies.get(target.replace('network:', ''));
  if (target.startsWith('network:')) {
    if (proxy === undefined) return done('there is no proxy');
    if (action === 'reset') proxy.reset();
    else {
      proxy.setFault(faultOf(action));
      await pause(ms);
      proxy.setFault(null);
    }
    return done();
  }
  const entry = await scene.processOf(target);
  if (entry === null) return done('it does not run, or its cluster is not whole');
  if (action === 'kill') kill(entry);
  else if (action === 'restart') endInOrder(entry.pid, entry.kind);
  else {
    freeze(entry);
    await pause(ms);
    thaw(entry);
  }
  return done();
}

function faultOf(action: Step['action']): NetworkFault {
  if (action === 'latency') return LATENCY;
  if (action === 'narrow') return NARROW;
  return action === 'stall' ? { kind: 'stall' } : { kind: 'half-open' };
}

/** PostgreSQL waits for its clients on SIGTERM, for ever; its orderly stop is SIGINT, as the supervisor sends it. */
function endInOrder(pid: number, kind: string): void {
  try {
    process.kill(pid, kind === 'postgres' ? 'SIGINT' : 'SIGTERM');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}
