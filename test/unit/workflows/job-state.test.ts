import fc from 'fast-check';
import type { JobInput, JobRange } from '../../../contracts/batch-jobs.ts';
import { JobState } from '../../../workflows/job-state.ts';

const INPUT: JobInput = { name: 're-embed', rate: 50, batchesPerRun: 10 };

function range(count: number, through = 'place'): JobRange {
  return { database: 0, after: null, through, count };
}

describe('JobState', () => {
  it('makes a batch two seconds of the rate, at least one item and at most what the job allows', () => {
    const limit = (rate: number): number => new JobState({ ...INPUT, rate }).batchLimit;
    expect([limit(0.1), limit(50), limit(1e6)]).toEqual([1, 100, 256]);
  });

  it('is counting until it was opened, and running then', () => {
    const state = new JobState(INPUT);
    expect(state.progress.state).toBe('counting');
    state.open({ total: 3, first: range(3) });
    expect(state.progress).toMatchObject({ state: 'running', done: 0, total: 3, rate: 0 });
  });

  it('is pausing while a batch is under way, and paused behind it', () => {
    const state = new JobState(INPUT);
    state.open({ total: 3, first: range(3) });
    state.beginBatch();
    state.isPaused = true;
    expect(state.progress.state).toBe('pausing');
    state.endBatch(range(3), { skipped: 0, next: range(1) }, 10);
    expect(state.progress.state).toBe('paused');
  });

  it('rests for what a batch was faster than its rate', () => {
    const state = new JobState(INPUT);
    state.open({ total: 200, first: range(100) });
    expect(state.endBatch(range(100), { skipped: 0, next: range(100) }, 500)).toBe(1500);
  });

  it('does not catch up with what was late', () => {
    const state = new JobState(INPUT);
    state.open({ total: 300, first: range(100) });
    expect(state.endBatch(range(100), { skipped: 0, next: range(100) }, 60_000)).toBe(0);
    expect(state.endBatch(range(100), { skipped: 0, next: range(100) }, 500)).toBe(1500);
  });

  it('does not rest behind the last batch', () => {
    const state = new JobState(INPUT);
    state.open({ total: 100, first: range(100) });
    expect(state.endBatch(range(100), { skipped: 0, next: null }, 1)).toBe(0);
  });

  it('never exceeds its rate, however long batches take', () => {
    const took = fc.array(fc.integer({ min: 0, max: 5000 }), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(took, fc.integer({ min: 1, max: 2000 }), (all, rate) => {
        const state = new JobState({ ...INPUT, rate });
        let nowMs = 0;
        let items = 0;
        for (const tookMs of all) {
          const count = state.batchLimit;
          const restMs = state.endBatch(range(count), { skipped: 0, next: range(1) }, tookMs);
          nowMs += tookMs + restMs;
          items += count;
          // A rest that is too short for a timer is put on top of the next.
          expect(items).toBeLessThanOrEqual(((nowMs + 50 + 1) / 1000) * rate);
          expect(restMs).toBeLessThanOrEqual((count / rate) * 1000 + 50);
        }
      }),
    );
  });

  it('tells the rate of the last batches with their rests', () => {
    const state = new JobState(INPUT);
    state.open({ total: 300, first: range(100) });
    state.endBatch(range(100), { skipped: 0, next: range(100) }, 100);
    expect(state.progress.rate).toBe(50);
    state.endBatch(range(100), { skipped: 0, next: range(100) }, 8000);
    expect(state.progress.rate).toBe(20);
  });

  it('goes on in a new run where the last one was', () => {
    const first = new JobState(INPUT);
    first.open({ total: 10, first: range(4) });
    first.endBatch(range(4, 'a/1'), { skipped: 1, next: range(6, 'b/2') }, 10);
    first.isPaused = true;
    const second = new JobState({ ...INPUT, carried: first.carried });
    expect(second.isCounted).toBe(true);
    expect(second.range).toEqual(range(6, 'b/2'));
    expect(second.progress).toEqual({ ...first.progress, rate: 0 });
  });

  it('ends with a total of what was there: items may come or go while it runs', () => {
    const state = new JobState(INPUT);
    state.open({ total: 5, first: range(8) });
    state.endBatch(range(8), { skipped: 0, next: range(1) }, 10);
    expect(state.progress).toMatchObject({ done: 8, total: 8 });
    const shrunk = new JobState(INPUT);
    shrunk.open({ total: 5, first: range(3) });
    shrunk.endBatch(range(3), { skipped: 0, next: null }, 10);
    shrunk.end();
    expect(shrunk.progress).toMatchObject({ state: 'ended', done: 3, total: 3 });
  });
});
