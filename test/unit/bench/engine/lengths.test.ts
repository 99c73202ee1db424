import {
  azureLengths,
  exponentialLengths,
  lognormalLengths,
} from '../../../../bench/engine/lengths.ts';

const mean = (sample: readonly number[]): number =>
  sample.reduce((sum, each) => sum + each, 0) / sample.length;
const outputs = (all: readonly { outputTokens: number }[]): number[] =>
  all.map(({ outputTokens }) => outputTokens);

describe('lengths of bench requests', () => {
  it('are the same for the same seed, and others for another', () => {
    const draw = (seed: number): number[] =>
      outputs(exponentialLengths(50, seed, { promptTokens: 8, meanOutput: 64 }));
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
  });

  it('have the exponential distribution’s mean, less what the cap takes', () => {
    const drawn = outputs(exponentialLengths(20_000, 7, { promptTokens: 8, meanOutput: 64 }));
    // Capped at four means an exponential keeps 1 - e⁻⁴ of its mean.
    expect(mean(drawn) / (64 * (1 - Math.exp(-4)))).toBeCloseTo(1, 1);
    expect(Math.max(...drawn)).toBeLessThanOrEqual(256);
    expect(Math.min(...drawn)).toBeGreaterThanOrEqual(1);
  });

  it('have the lognormal’s means and fit the greatest length', () => {
    const drawn = lognormalLengths(20_000, 3, {
      prompt: 161,
      output: 338,
      variation: 0.5,
      maxTokens: 4096,
    });
    expect(mean(drawn.map(({ promptTokens }) => promptTokens)) / 161).toBeCloseTo(1, 1);
    expect(mean(outputs(drawn)) / 338).toBeCloseTo(1, 1);
    const sums = drawn.map(({ promptTokens, outputTokens }) => promptTokens + outputTokens);
    expect(Math.max(...sums)).toBeLessThanOrEqual(4096);
  });

  it('are null where the trace is absent', () => {
    const options = { first: 0, count: 1, scale: 4, maxTokens: 1024 };
    expect(azureLengths('/nowhere', options)).toBeNull();
  });
});
