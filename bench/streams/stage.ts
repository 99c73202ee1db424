// What the stream benches share: a gateway of their own, its log, readers, and the report.
import { projectPath } from '../../process/paths.ts';
import { connectRedis } from '../../redis/connection.ts';
import type { Redis } from '../../redis/connection.ts';
import { RedisTurnLogWriter } from '../../redis/turn-log-writer.ts';
import type { Report } from '../engine/report.ts';
import { cpuSeconds } from '../process-usage.ts';
import type { RunningSystem } from '../running-system.ts';
import { appendSteadily } from './made-turns.ts';
import type { MadeTurn } from './made-turns.ts';
import { startOwnGateway } from './own-gateway.ts';
import type { OwnGateway } from './own-gateway.ts';
import { Readers } from './readers.ts';
import type { SeenByReaders } from './readers.ts';

export interface Stage {
  readonly system: RunningSystem;
  readonly gateway: OwnGateway;
  readonly redis: Redis;
  readonly log: RedisTurnLogWriter;
  readonly readers: Readers;
  readonly report: Report;
}

export const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms));

/** Sets a stage up for `act` and clears it away after. */
export async function onStage(
  system: RunningSystem,
  report: Report,
  act: (stage: Stage) => Promise<void>,
): Promise<void> {
  const redis = connectRedis({
    url: system.redis,
    scriptsFolder: projectPath('redis', 'lua'),
    onError: (error) => {
      throw error;
    },
  });
  const gateway = await startOwnGateway(system);
  const readers = new Readers(2);
  try {
    const log = new RedisTurnLogWriter(redis);
    await act({ system, gateway, redis, log, readers, report });
  } finally {
    await readers.close();
    readers.stop();
    await gateway.stop();
    redis.disconnect();
  }
}

export interface FlowSeen {
  readonly seen: SeenByReaders;
  readonly appended: number;
  readonly perSecond: number;
  /** Gateway CPU seconds per second. */
  readonly gatewayCpu: number;
}

/**
 * Lets entries flow to `turns` for `seconds` and measures what readers see after `warmSeconds`.
 * @param during runs in the middle of the measured time
 */
export async function flow(
  { log, readers, gateway }: Stage,
  turns: readonly MadeTurn[],
  perSecond: number,
  seconds: number,
  during: () => Promise<void> = async () => undefined,
): Promise<FlowSeen> {
  const appending = appendSteadily(log, turns, perSecond);
  await sleep(1500);
  await readers.forget();
  const [before, cpuBefore, begun] = [
    appending.count(),
    cpuSeconds(gateway.pid),
    performance.now(),
  ];
  const acting = sleep(seconds * 250).then(during);
  await sleep(seconds * 1000);
  const elapsed = (performance.now() - begun) / 1000;
  const appended = appending.count() - before;
  const cpu = cpuSeconds(gateway.pid) - cpuBefore;
  await acting;
  await appending.stop();
  await sleep(500);
  const seen = await readers.report();
  return { seen, appended, perSecond: appended / elapsed, gatewayCpu: cpu / elapsed };
}

/** Entries that were appended to `turns` and have not been seen by their one reader each. */
export function missing(turns: readonly MadeTurn[], seen: SeenByReaders): number {
  return turns.reduce((sum, { last }) => sum + last, 0) - seen.lastSeen;
}
