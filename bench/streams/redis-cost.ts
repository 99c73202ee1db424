// What a reply of 1,000 tokens costs Redis: commands, commands within scripts, and bytes, from claim to end with one reader,
// by Redis's own counters. Nothing else may use it meanwhile but the idle system.
import { setTimeout as later } from 'node:timers/promises';
import { epochOf } from '../../contracts/turn-log.ts';
import { TokenFlusher } from '../../activities/token-flusher.ts';
import type { FlushSettings } from '../../activities/token-flusher.ts';
import { makeTurns } from './made-turns.ts';
import type { Stage } from './stage.ts';

export interface RedisCostOptions {
  readonly tokens: number;
  /** Milliseconds between tokens; one round for each. */
  readonly tokenMs: readonly number[];
  readonly flush: FlushSettings;
}

interface Counters {
  readonly commands: ReadonlyMap<string, number>;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

export async function runRedisCost(stage: Stage, options: RedisCostOptions): Promise<void> {
  const { gateway, log, redis, readers, report } = stage;
  const rows: (string | number)[][] = [
    [
      'ms between tokens',
      'entries',
      'round trips',
      'commands in scripts',
      'bytes in',
      'bytes out',
      'bytes kept',
    ],
  ];
  for (const tokenMs of options.tokenMs) {
    const asking = await difference(stage, async () => undefined);
    const idle = await difference(stage, () => later(2000));
    const [turn] = await makeTurns(gateway, log, 1);
    if (turn === undefined) throw new Error('no turn was made');
    await readers.open(gateway, [turn], 100);
    const epoch = epochOf(1, 1);
    const begun = performance.now();
    let entries = 0;
    const cost = await difference(stage, async () => {
      await log.claim(turn.turnId, epoch);
      const flusher = new TokenFlusher({
        ...options.flush,
        nextEntry: 2,
        texts: [{ stream: WORDS, textLength: 0, numDelivered: 0 }],
        append: (all) => {
          entries += all.length;
          return log.append(turn.turnId, epoch, all);
        },
        onLost: (why) => {
          throw new Error(`the log is ${why}`);
        },
      });
      for (let token = 0; token < options.tokens; token += 1) {
        flusher.push(0, [token]);
        const due = begun + (token + 1) * tokenMs;
        if (due > performance.now()) await later(due - performance.now());
      }
      await flusher.finish();
      const usage = { prompt_tokens: 1, completion_tokens: 1, cached_tokens: 0, cost_usd: 0 };
      await log.end(turn.turnId, [
        { type: 'end', data: { turn_id: turn.turnId, finish_reason: 'stop', usage } },
      ]);
    });
    const seconds = (performance.now() - begun) / 1000;
    /** Less what asking for the counters costs, and what the idle system does in that time; of 1,000 tokens. */
    const per = (of: (counters: Counters) => number): number => {
      const idlePerSecond = (of(idle) - of(asking)) / 2;
      return Math.round(
        ((of(cost) - of(asking) - idlePerSecond * seconds) * 1000) / options.tokens,
      );
    };
    const sum = (counters: Counters, isInside: boolean): number =>
      [...counters.commands]
        .filter(([name]) => isInside === INSIDE.has(name))
        .reduce((total, [, count]) => total + count, 0);
    const kept = Number(await redis.call('MEMORY', 'USAGE', `turn:{${turn.turnId}}:log`));
    const finding = {
      measure: 'redis-cost',
      tokens: options.tokens,
      tokenMs,
      flush: options.flush,
      entries,
      roundTrips: per((counters) => sum(counters, false)),
      commandsInScripts: per((counters) => sum(counters, true)),
      bytesIn: per(({ bytesIn }) => bytesIn),
      bytesOut: per(({ bytesOut }) => bytesOut),
      bytesKept: Math.round((kept * 1000) / options.tokens),
      byCommand: Object.fromEntries(cost.commands),
    };
    report.line(finding);
    rows.push([
      tokenMs,
      finding.entries,
      finding.roundTrips,
      finding.commandsInScripts,
      finding.bytesIn,
      finding.bytesOut,
      finding.bytesKept,
    ]);
    await log.remove(turn.turnId);
    await readers.close();
  }
  report.table(rows);
}

/** A word a token. */
const WORDS = { push: (id: number): string => ` word${id % 10}`, end: () => '', isStopped: false };

/** What only scripts call here. */
const INSIDE: ReadonlySet<string> = new Set([
  'hmget',
  'hset',
  'hget',
  'xadd',
  'xrevrange',
  'spublish',
  'pexpire',
  'pttl',
  'exists',
]);

async function difference({ redis }: Stage, work: () => Promise<unknown>): Promise<Counters> {
  const before = await read(redis);
  await work();
  const after = await read(redis);
  const commands = new Map<string, number>();
  for (const [name, count] of after.commands) {
    const more = count - (before.commands.get(name) ?? 0) - (name === 'info' ? 2 : 0);
    if (more > 0) commands.set(name, more);
  }
  return {
    commands,
    bytesIn: after.bytesIn - before.bytesIn,
    bytesOut: after.bytesOut - before.bytesOut,
  };
}

async function read(redis: Stage['redis']): Promise<Counters> {
  const text = `${await redis.info('commandstats')}\n${await redis.info('stats')}`;
  const number = (name: string): number =>
    Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(text)?.[1] ?? NaN);
  return {
    commands: new Map(
      [...text.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)].map(([, name, calls]) => [
        name ?? '',
        Number(calls),
      ]),
    ),
    bytesIn: number('total_net_input_bytes'),
    bytesOut: number('total_net_output_bytes'),
  };
}
