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

  it('knows the sizes that come often by themselves, the others by the line, and forgets what it has not seen for long', () => {
    const cost = new StepCost();
    const panelled = (rows: number): number => 4 + 4 * Math.ceil(rows / 4);
    for (let step = 0; step < 600; step += 1)
      cost.observe(1 + (step % 8), panelled(1 + (step % 8)));
    for (const rows of [1, 4, 5, 8])
      expect(Math.abs(cost.msOf(rows) - panelled(rows))).toBeLessThan(0.6);
    expect(cost.msOf(20)).toBeGreaterThan(20);
    // Steps of one to four rows got dearer; those of eight have not been seen since.
    for (let step = 0; step < 3000; step += 1) cost.observe(1 + (step % 4), 20);
    expect(cost.msOf(3)).toBeCloseTo(20, 0);
    expect(cost.msOf(8)).toBeGreaterThan(18);
  });

  it('tells rows before it has seen a step', () => {
    const cost = new StepCost();
    expect(cost.msOf(3) - cost.msOf(2)).toBe(1);
    expect(cost.estimate).toBeNull();
  });
});
