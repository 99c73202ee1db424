import { StepCost } from '../../../inference/step-cost.ts';

describe('StepCost', () => {
  it('learns the fixed part of a step in rows', () => {
    const cost = new StepCost();
    for (let step = 0; step < 100; step += 1) {
      const rows = 1 + (step % 7);
      cost.observe(rows, 3 + 0.5 * rows);
    }
    expect(cost.fixedRows).toBeCloseTo(6, 1);
  });

  it('follows a machine that changes', () => {
    const cost = new StepCost();
    for (const fixed of [3, 1]) {
      for (let step = 0; step < 600; step += 1) {
        const rows = 1 + (step % 7);
        cost.observe(rows, fixed + 0.5 * rows);
      }
    }
    expect(cost.fixedRows).toBeCloseTo(2, 0);
  });

  it('believes nothing that steps of one size say, and does not count prompts', () => {
    const cost = new StepCost();
    const prior = cost.fixedRows;
    for (let step = 0; step < 100; step += 1) cost.observe(1, 100);
    expect(cost.fixedRows).toBe(prior);
    for (let step = 0; step < 100; step += 1) cost.observe(256, 1);
    expect(cost.fixedRows).toBe(prior);
  });

  it('stays within bounds when rows seem to cost nothing, or less', () => {
    const cost = new StepCost();
    for (let step = 0; step < 100; step += 1) cost.observe(1 + (step % 9), 10 - (step % 9));
    expect(cost.fixedRows).toBe(64);
  });
});
