import { singleFlight } from '../../../activities/single-flight.ts';

describe('singleFlight', () => {
  it('runs once for calls with the same key that overlap, and again for a later one', async () => {
    const ends: (() => void)[] = [];
    const numRuns = new Map<string, number>();
    const load = singleFlight(async (key: string) => {
      const run = (numRuns.get(key) ?? 0) + 1;
      numRuns.set(key, run);
      await new Promise<void>((resolve) => ends.push(resolve));
      return `${key}${run}`;
    });
    const first = [load('a'), load('a'), load('b')];
    ends.splice(0).forEach((end) => end());
    expect(await Promise.all(first)).toEqual(['a1', 'a1', 'b1']);
    const later = load('a');
    ends.splice(0).forEach((end) => end());
    expect(await later).toBe('a2');
  });

  it('fails every call that joined, and keeps no failure', async () => {
    const answers = [Promise.reject(new Error('away')), Promise.resolve('back')];
    const load = singleFlight(() => answers.shift() ?? Promise.resolve('again'));
    const outcomes = await Promise.allSettled([load(1), load(1)]);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(await load(1)).toBe('back');
  });
});
