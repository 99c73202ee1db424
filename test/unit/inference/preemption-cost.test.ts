import { PreemptionCost } from '../../../inference/preemption-cost.ts';

describe('PreemptionCost', () => {
  it('swaps where copying out and in takes less time than computing again', () => {
    const cost = new PreemptionCost(1);
    for (let step = 0; step < 200; step += 1) cost.observeStep(100, 50);
    expect(cost.isSwapCheaper(16, 1)).toBe(true); // 2 ms against 8.
    expect(cost.isSwapCheaper(3, 1)).toBe(false); // 2 ms against 1.5.
  });

  it('learns what computing costs from prompts, not from single tokens', () => {
    const cost = new PreemptionCost(1);
    for (let step = 0; step < 200; step += 1) cost.observeStep(100, 1);
    for (let step = 0; step < 200; step += 1) cost.observeStep(1, 1000);
    expect(cost.isSwapCheaper(16, 1)).toBe(false);
  });
});
