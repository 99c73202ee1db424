// Schedules: the same for the same seed, and never with what the rules forbid.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { mayFollow, RULES } from '../../../../bench/chaos/rules.ts';
import { drawSchedule, readSchedule, stepsBetween } from '../../../../bench/chaos/schedule.ts';
import type { Step, Target } from '../../../../bench/chaos/rules.ts';

const TARGETS: readonly Target[] = [
  { name: 'gateway-1', kind: 'gateway' },
  { name: 'gateway-2', kind: 'gateway' },
  { name: 'inference-default-1', kind: 'inference-worker' },
  { name: 'inference-default-2', kind: 'inference-worker' },
  { name: 'turn-worker-1', kind: 'turn-worker' },
  { name: 'background-worker-1', kind: 'background-worker' },
  { name: 'postgres', kind: 'postgres' },
  { name: 'redis', kind: 'redis', forgets: true },
  { name: 'temporal', kind: 'temporal' },
  { name: 'network:redis', kind: 'network' },
  { name: 'network:postgres', kind: 'network' },
];
const draw = (seed: number, durationMs = 600_000): Step[] =>
  drawSchedule({ seed, durationMs, targets: TARGETS });

const step = (each: Partial<Step>): Step => ({
  ...{ at: 0, action: 'kill', target: 'gateway-1', kind: 'gateway', ms: 0 },
  ...each,
});

describe('a schedule', () => {
  it('is a function of its seed', () => {
    expect(draw(7)).toEqual(draw(7));
    expect(draw(7)).not.toEqual(draw(8));
  });

  it('holds no two steps that the rules forbid, in whatever order they are looked at', () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const steps = draw(seed);
        for (const one of steps)
          for (const other of steps)
            if (one !== other && !(mayFollow(one, other) && mayFollow(other, one))) return false;
        return true;
      }),
      { numRuns: 30 },
    );
  });

  it('has a fault nearly every five seconds, and of every class in ten minutes', () => {
    const steps = draw(1);
    expect(steps.length).toBeGreaterThan(100);
    const seen = (of: (each: Step) => string): string[] => [...new Set(steps.map(of))].sort();
    expect(seen(({ kind }) => kind)).toEqual(
      [...new Set(TARGETS.map(({ kind }) => kind as string))].sort(),
    );
    expect(seen(({ action }) => action)).toEqual(
      ['freeze', 'half-open', 'kill', 'latency', 'narrow', 'reset', 'restart', 'stall'].sort(),
    );
  });

  it('turns to what it is told to focus on', () => {
    const numOf = (options: object): number =>
      drawSchedule({ seed: 1, durationMs: 3_600_000, targets: TARGETS, ...options }).filter(
        ({ kind }) => kind === 'temporal',
      ).length;
    expect(numOf({ focus: 'temporal' })).toBeGreaterThan(1.3 * numOf({}));
  });

  it('lets Valkey forget everything only when no worker was or will soon be in trouble', () => {
    const lost = step({ at: 60_000, target: 'redis', kind: 'redis', forgets: true });
    const worker = { target: 'inference-default-1', kind: 'inference-worker' } as const;
    const at = (ms: number): boolean => mayFollow(lost, step({ at: ms, ...worker }));
    expect([at(45_000), at(55_000), at(65_000), at(75_000)]).toEqual([true, false, false, true]);
    // A cluster's primary has a replica: nothing is forgotten.
    const kept = step({ at: 60_000, target: 'redis', kind: 'redis' });
    expect(mayFollow(kept, step({ at: 65_000, ...worker }))).toBe(true);
  });

  it('counts a freeze from its end', () => {
    const frozen = step({ action: 'freeze', ms: 4000 });
    const next = (at: number): Step => step({ at, action: 'freeze', ms: 1000 });
    expect([mayFollow(frozen, next(5000)), mayFollow(frozen, next(7000))]).toEqual([false, true]);
  });

  it('is cut to a window of its time, which then begins after the same lead', () => {
    const steps = draw(5);
    const cut = stepsBetween(steps, 300_000, 330_000);
    const inside = steps.filter(({ at }) => at >= 300_000 && at <= 330_000);
    expect(cut.map(({ target }) => target)).toEqual(inside.map(({ target }) => target));
    expect(cut[0]?.at).toBe(5000);
    expect((cut.at(-1)?.at ?? 0) - 5000).toBe((inside.at(-1)?.at ?? 0) - (inside[0]?.at ?? 0));
    expect(stepsBetween(steps, 1, 2)).toEqual([]);
  });

  it('says why of every rule', () => {
    for (const { why } of RULES) expect(why.length).toBeGreaterThan(20);
  });

  it('is read from a file as it was written', () => {
    const folder = mkdtempSync(join(tmpdir(), 'colloquy-schedule-'));
    try {
      const path = join(folder, 'schedule.json');
      writeFileSync(path, JSON.stringify(draw(3)));
      expect(readSchedule(path)).toEqual(draw(3));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
