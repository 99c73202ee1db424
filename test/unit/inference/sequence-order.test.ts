import { compareService, Sequence } from '../../../inference/sequence.ts';
import { sequenceRequest } from '../../helpers/engine-runs.ts';

const silent = { onTokens: () => undefined, onFinish: () => undefined };
let arrivals = 0;
const sequence = (priority: number, arrivedAtMs: number): Sequence =>
  new Sequence(sequenceRequest([1], { priority }), silent, arrivals++, arrivedAtMs);

describe('the order of service', () => {
  it('is by priority, then by arrival', () => {
    const free = sequence(4, 0);
    const [paid, later] = [sequence(2, 100), sequence(2, 100)];
    expect([free, later, paid].sort(compareService)).toEqual([paid, later, free]);
  });

  it('lets nobody starve: a class is worth some seconds of waiting, no more', () => {
    const free = sequence(4, 0);
    expect(compareService(free, sequence(2, 9_000))).toBeGreaterThan(0);
    expect(compareService(free, sequence(2, 11_000))).toBeLessThan(0);
  });
});
