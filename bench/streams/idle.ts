// Bar 8: what 10,000 open streams of 10,000 turns cost one gateway, first idle, then with tokens on 1,000 of them.
import { residentBytes } from '../process-usage.ts';
import { makeTurns } from './made-turns.ts';
import { flow, missing, sleep } from './stage.ts';
import type { Stage } from './stage.ts';

export interface IdleOptions {
  readonly streams: number;
  readonly flowing: number;
  /** Entries a second in all, one round after another. */
  readonly rates: readonly number[];
  readonly seconds: number;
}

const kilobytes = (bytes: number): number => Number((bytes / 1024).toPrecision(3));

export async function runIdle(stage: Stage, options: IdleOptions): Promise<void> {
  const { gateway, log, readers, report } = stage;
  const rows: (string | number)[][] = [['measure', 'value']];
  const turns = await makeTurns(gateway, log, options.streams + 200);
  // A gateway that has served some streams is warm: its code is compiled, its pools are full.
  await readers.open(gateway, turns.slice(options.streams), 500);
  await readers.close();
  await sleep(1000);
  const before = await gateway.collectedBytes();
  await readers.open(gateway, turns.slice(0, options.streams), options.streams / 1.2);
  await sleep(1000);
  const asIs = residentBytes(gateway.pid) - before;
  const collected = (await gateway.collectedBytes()) - before;
  const idle = {
    streams: (await readers.report()).open,
    kilobytesEach: kilobytes(collected / options.streams),
    kilobytesEachUncollected: kilobytes(asIs / options.streams),
    residentMegabytes: kilobytes(before + collected) / 1024,
  };
  report.line({ measure: 'idle', ...idle });
  rows.push([
    `KB a stream, ${idle.streams} idle`,
    `${idle.kilobytesEach} (${idle.kilobytesEachUncollected} before a collection)`,
  ]);
  const active = turns.slice(0, options.flowing);
  for (const rate of options.rates) {
    const flowed = await flow(stage, active, rate, options.seconds);
    const latency = flowed.seen.latencyMs.summary();
    const { gaps, doubled, closed } = flowed.seen;
    report.line({
      measure: 'flowing',
      streams: idle.streams,
      on: active.length,
      entriesPerSecond: Math.round(flowed.perSecond),
      appendToSocketMs: latency,
      gatewayCpu: Number(flowed.gatewayCpu.toPrecision(3)),
      gaps,
      doubled,
      closed,
      missing: missing(turns.slice(0, options.streams), flowed.seen),
    });
    rows.push([
      `append → socket with ${Math.round(flowed.perSecond)} entries/s on ${active.length}, ms`,
      `p50 ${latency.p50}, p99 ${latency.p99}, max ${latency.max}; ${gaps} gaps, ${doubled} doubled; gateway ${Math.round(flowed.gatewayCpu * 100)} % of a core`,
    ]);
  }
  const after = await gateway.collectedBytes();
  report.line({ measure: 'after', kilobytesEach: kilobytes((after - before) / options.streams) });
  rows.push(['KB a stream, after that', kilobytes((after - before) / options.streams)]);
  report.table(rows);
}
