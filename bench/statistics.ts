// What every report here says of a sample.

/** The q-quantile (0 … 1) by the nearest rank; NaN for an empty sample. */
export function quantile(sample: readonly number[], q: number): number {
  const sorted = [...sample].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? NaN;
}

export function summary(sample: readonly number[]): {
  p50: number;
  p99: number;
  min: number;
  max: number;
} {
  const round = (value: number): number => Math.round(value * 100) / 100;
  return {
    p50: round(quantile(sample, 0.5)),
    p99: round(quantile(sample, 0.99)),
    min: round(Math.min(...sample)),
    max: round(Math.max(...sample)),
  };
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** Median (of an even sample: the lower of the two) and range, to three significant digits. */
export function spread(sample: readonly number[]): Spread {
  const round = (value: number): number => Number(value.toPrecision(3));
  return {
    median: round(quantile(sample, 0.5)),
    min: round(Math.min(...sample)),
    max: round(Math.max(...sample)),
  };
}
