// What a storm rages on: two gateways, two workers, and the services of a deployment, each of them behind a fault proxy
// where one can stand (a cluster tells its clients the nodes' own addresses, so there is none before it).
import { cpSync } from 'node:fs';
import type { Target, TargetClass } from '../../bench/chaos/rules.ts';
import type { ProcessEntry } from '../../runtime/run-files.ts';
import type { ServiceUrls } from '../../runtime/services.ts';
import { isTemporalReady } from '../../runtime/temporal-namespace.ts';
import { standBefore, startOwnServices } from './chaos-services.ts';
import type { OwnServices } from './chaos-services.ts';
import { startDeployment } from './deployment.ts';
import type { RunningDeployment } from './deployment.ts';
import type { FaultProxy } from './fault-proxy.ts';
import { startSystem } from './system.ts';
import type { TestSystem } from './system.ts';
import { everyProcessReady } from './system-processes.ts';
import type { Caller } from './turn-client.ts';
import { clusterNodes, isClusterWhole, pidOfNode } from './valkey-nodes.ts';
import { waitFor } from './wait-for.ts';

/** `embedded`: all services as `npm start` has them. The others: that service as docs/deploy/ has it, the rest embedded. */
export const DEPLOYMENTS = ['embedded', 'temporal', 'valkey'] as const;
export type DeploymentKind = (typeof DEPLOYMENTS)[number];

export interface ChaosSystem {
  readonly system: TestSystem;
  readonly targets: readonly Target[];
  /** The services themselves, past the proxies. */
  readonly services: ServiceUrls;
  /** Service → the proxy before it. */
  readonly proxies: ReadonlyMap<string, FaultProxy>;
  /** A gateway's address for each, with the token of a tier. */
  callers(tier: 'free' | 'paid' | 'enterprise'): Caller[];
  /** The process of a target as it is now; null while it is dead, or when the rules of its cluster forbid a fault now. */
  processOf(target: string): Promise<ProcessEntry | null>;
  /** Resolves when every process and service is ready. @throws Error when that takes more than two minutes */
  whenWell(): Promise<void>;
  /** Copies every log to a folder. */
  keepLogs(folder: string): void;
  stop(): Promise<void>;
}

export async function startChaosSystem(kind: DeploymentKind): Promise<ChaosSystem> {
  const stops: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (const each of stops.splice(0).reverse()) await each();
  };
  try {
    const deployment = kind === 'embedded' ? null : await startDeployment(kind);
    if (deployment !== null) stops.push(() => deployment.stop());
    const own = await startOwnServices(deployment?.env ?? {});
    stops.push(() => own.stop());
    const { env, proxies } = await standBefore(own.urls);
    stops.push(async () => {
      await Promise.all([...proxies.values()].map((each) => each.close()));
    });
    const system = await started(env);
    stops.push(() => system.stop());
    return assemble({ kind, system, own, deployment, proxies, stop });
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A start gives a service that is not its own two seconds to answer; a machine that has just started six may need more. */
async function started(env: Readonly<Record<string, string>>, attempts = 3): Promise<TestSystem> {
  try {
    return await startSystem({ gateways: 2, workers: { default: 2 }, env });
  } catch (error) {
    if (attempts === 1) throw error;
    return started(env, attempts - 1);
  }
}

interface Parts {
  readonly kind: DeploymentKind;
  readonly system: TestSystem;
  readonly own: OwnServices;
  readonly deployment: RunningDeployment | null;
  readonly proxies: ReadonlyMap<string, FaultProxy>;
  readonly stop: () => Promise<void>;
}

function assemble({ kind, system, own, deployment, proxies, stop }: Parts): ChaosSystem {
  const names = system.processes().map(({ name }) => name);
  const all = (): ProcessEntry[] => [
    ...system.processes(),
    ...own.processes(),
    ...(deployment?.processes() ?? []),
  ];
  const isDeploymentWhole = async (): Promise<boolean> => {
    if (deployment === null) return true;
    if (kind === 'valkey') return isClusterWhole(deployment);
    const ports = ['temporal-1-7233', 'temporal-2-7233'].map((each) => deployment.port(each));
    const ready = ports.map((port) => isTemporalReady(`127.0.0.1:${port}`, 'default'));
    return (await Promise.all(ready)).every(Boolean);
  };
  const processOf = async (target: string): Promise<ProcessEntry | null> => {
    const [, primary] = /^valkey-primary-(\d)$/.exec(target) ?? [];
    if (primary !== undefined && deployment !== null) {
      if (!(await isClusterWhole(deployment).catch(() => false))) return null;
      const serving = (await clusterNodes(deployment))
        .filter(({ isPrimary, slots }) => isPrimary && slots.length > 0)
        .sort((one, other) => one.port - other.port);
      const pid = pidOfNode(deployment, serving[Number(primary) - 1]?.port ?? 0);
      return all().find((each) => each.pid === pid) ?? null;
    }
    if (/^temporal-\d$/.test(target) && !(await isDeploymentWhole().catch(() => false)))
      return null;
    return all().find((each) => each.name === target) ?? null;
  };
  const whenWell = async (): Promise<void> => {
    const well = (): Promise<boolean> => isDeploymentWhole().catch(() => false);
    await waitFor('the deployment is whole', well, 120_000);
    await waitFor('every service is ready', () => own.areReady(), 120_000);
    await everyProcessReady(system, names);
  };
  return {
    system,
    proxies,
    services: own.urls,
    targets: targetsOf(kind, system, proxies),
    callers: (tier) => {
      const { gateways, tokens } = system.endpoints();
      return gateways.map((gateway) => ({ gateway, token: tokens[tier] }));
    },
    processOf,
    whenWell,
    keepLogs: (folder) => {
      cpSync(system.home.logs, folder, { recursive: true });
      cpSync(own.logs, folder, { recursive: true });
    },
    stop,
  };
}

function targetsOf(
  kind: DeploymentKind,
  system: TestSystem,
  proxies: ReadonlyMap<string, FaultProxy>,
): Target[] {
  const ours = system
    .processes()
    .filter((each) => each.kind !== 'supervisor') // Its death is the end of the system, not of a part.
    .map(({ name, kind: kindOf }): Target => ({ name, kind: kindOf as TargetClass }));
  const numbered = (name: string, count: number, of: TargetClass): Target[] =>
    Array.from({ length: count }, (_, index) => ({ name: `${name}-${index + 1}`, kind: of }));
  return [
    ...ours,
    { name: 'postgres', kind: 'postgres' },
    ...(kind === 'valkey'
      ? numbered('valkey-primary', 3, 'redis')
      : // It keeps a file (decision 0015); as one that has none it is spared what such a one cannot survive.
        [{ name: 'redis', kind: 'redis', forgets: true } as const]),
    ...(kind === 'temporal'
      ? numbered('temporal', 2, 'temporal')
      : [{ name: 'temporal', kind: 'temporal' } as const]),
    ...[...proxies.keys()].map((name): Target => ({ name: `network:${name}`, kind: 'network' })),
  ];
}
