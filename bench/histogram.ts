// Counts of positive values in buckets 1 % wide: quantiles of any number of samples in a few kilobytes, and histograms of
// several processes add up.

const GROWTH = Math.log(1.01);

export interface HistogramData {
  /** Bucket → count; a bucket's values are between 1.01^bucket and 1.01^(bucket + 1). */
  readonly counts: readonly (readonly [bucket: number, count: number])[];
  readonly max: number;
}

export class Histogram {
  readonly #counts = new Map<number, number>();
  #total = 0;
  #max = 0;

  add(value: number): void {
    const bucket = Math.floor(Math.log(Math.max(value, 1e-6)) / GROWTH);
    this.#counts.set(bucket, (this.#counts.get(bucket) ?? 0) + 1);
    this.#total += 1;
    this.#max = Math.max(this.#max, value);
  }

  merge({ counts, max }: HistogramData): void {
    for (const [bucket, count] of counts) {
      this.#counts.set(bucket, (this.#counts.get(bucket) ?? 0) + count);
      this.#total += count;
    }
    this.#max = Math.max(this.#max, max);
  }

  get count(): number {
    return this.#total;
  }

  get max(): number {
    return this.#max;
  }

  /** The upper end of the bucket in which the q-quantile (0 … 1, nearest rank) is; NaN when empty. */
  quantile(q: number): number {
    let left = Math.max(1, Math.ceil(q * this.#total));
    for (const [bucket, count] of [...this.#counts].sort(([a], [b]) => a - b)) {
      left -= count;
      if (left <= 0) return Math.min(this.#max, Math.exp((bucket + 1) * GROWTH));
    }
    return NaN;
  }

  /** For another process. */
  data(): HistogramData {
    return { counts: [...this.#counts], max: this.#max };
  }

  /** To three significant digits. */
  summary(): { count: number; p50: number; p90: number; p99: number; max: number } {
    const round = (value: number): number => Number(value.toPrecision(3));
    return {
      count: this.#total,
      p50: round(this.quantile(0.5)),
      p90: round(this.quantile(0.9)),
      p99: round(this.quantile(0.99)),
      max: round(this.#max),
    };
  }
}
