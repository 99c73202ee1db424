import fc from 'fast-check';
import { Histogram } from '../../../bench/histogram.ts';
import { openArrivals, runOpen } from '../../../bench/load/arrivals.ts';
import { Tally } from '../../../bench/load/tally.ts';
import type { TimedTurn } from '../../../bench/load/timed-turn.ts';
import { quantile } from '../../../bench/statistics.ts';

describe('Histogram', () => {
  it('gives every quantile within a hundredth, also when it is put together of parts', () => {
    const value = fc.double({ min: 0.01, max: 1e6, noNaN: true });
    fc.assert(
      fc.property(
        fc.array(value, { minLength: 1, maxLength: 200 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.nat(200),
        (sample, q, cut) => {
          const [one, other] = [new Histogram(), new Histogram()];
          sample.forEach((each, index) => (index < cut ? one : other).add(each));
          one.merge(other.data());
          const exact = quantile(sample, q);
          expect(one.count).toBe(sample.length);
          expect(one.quantile(q)).toBeGreaterThanOrEqual(exact * (1 - 1e-9));
          expect(one.quantile(q)).toBeLessThanOrEqual(exact * 1.01 * (1 + 1e-9));
        },
      ),
    );
  });
});

describe('open arrivals', () => {
  it('come at the asked rate, the same for the same seed, whatever becomes of the turns before', async () => {
    const times = openArrivals(50, 100, 'poisson', 7);
    expect(times).toEqual(openArrivals(50, 100, 'poisson', 7));
    expect(Math.abs(times.length / 5000 - 1)).toBeLessThan(0.05);
    expect(openArrivals(4, 1, 'even', 1)).toEqual([250, 500, 750]);

    let release: () => void = () => undefined;
    const first = new Promise<void>((resolve) => (release = resolve));
    const started: number[] = [];
    await runOpen([0, 1, 2], async (index) => {
      started.push(index);
      if (index === 2) release();
      await first;
    });
    expect(started).toEqual([0, 1, 2]);
  });

  it('are told when they were due, not when they could be sent', async () => {
    const late: number[] = [];
    const begun = performance.now();
    await runOpen([0, 1], async (_index, dueAt) => {
      late.push(Math.round(dueAt - begun));
      const until = performance.now() + 20;
      while (performance.now() < until); // This process is busy when the second is due.
    });
    expect(late[1]).toBeLessThanOrEqual(2);
  });
});

describe('Tally', () => {
  const turn = (more: Partial<TimedTurn>): TimedTurn => ({
    status: 200,
    finishReason: 'stop',
    ttftMs: 100,
    gapsMs: [10],
    tpotMs: 10,
    doneMs: 500,
    outputTokens: 10,
    promptTokens: 5,
    ...more,
  });

  it('counts as good what met every objective of its tier, and nothing that failed or was refused', () => {
    const tally = new Tally();
    tally.add('paid', turn({}));
    tally.add('free', turn({ ttftMs: 1500 }));
    tally.add('paid', turn({ ttftMs: 1500 }));
    tally.add('paid', turn({ tpotMs: 81 }));
    tally.add('free', turn({ status: 503, finishReason: null, ttftMs: null, tpotMs: null }));
    tally.add('paid', turn({ finishReason: 'error' }));
    expect(tally.summary(2)).toMatchObject({
      turns: 6,
      outcomes: { stop: 4, 'status 503': 1, error: 1 },
      goodputPerSecond: 1,
      goodShare: 0.333,
    });
  });
});
