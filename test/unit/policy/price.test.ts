import { costUsd } from '../../../policy/price.ts';

describe('costUsd', () => {
  it('charges fresh, cached and output tokens at their own price per million', () => {
    const usage = { promptTokens: 1_000_000, cachedTokens: 400_000, completionTokens: 100_000 };
    expect(costUsd(usage, { input: 5, cached_input: 0.5, output: 30 })).toBe(3 + 0.2 + 3);
  });

  it('keeps nine decimals without drift', () => {
    expect(
      costUsd(
        { promptTokens: 1, cachedTokens: 0, completionTokens: 1 },
        { input: 0.75, cached_input: 0.075, output: 4.5 },
      ),
    ).toBe(0.00000525);
  });
});
