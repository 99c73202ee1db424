// One side of a comparison: something that takes prompts of token ids and generates greedily, each sequence to the same length.

export interface Workload {
  readonly name: string;
  readonly numSeqs: number;
  readonly promptTokens: number;
  /** Tokens made per sequence; 1 = the prompt is what is measured. */
  readonly decodeTokens: number;
}

export interface Measured {
  /** Of prefill, first token included, when decodeTokens is 1; else of decode from the first tokens on, all sequences together. */
  readonly tokensPerSecond: number;
  /** Of its process, at most; null when it is not told. */
  readonly residentBytes: number | null;
}

export interface Contender {
  readonly name: string;
  /** Version, and what it was told to do or chose. */
  readonly about: string;
  /** @param seed another prompt for every run, the same for both sides */
  run(workload: Workload, seed: number): Promise<Measured>;
  close(): Promise<void>;
}

export const WORKLOADS: readonly Workload[] = [
  { name: 'decode, 1 sequence', numSeqs: 1, promptTokens: 64, decodeTokens: 48 },
  { name: 'decode, 8 sequences', numSeqs: 8, promptTokens: 64, decodeTokens: 48 },
  { name: 'decode, 32 sequences', numSeqs: 32, promptTokens: 64, decodeTokens: 48 },
  { name: 'prefill 512', numSeqs: 1, promptTokens: 512, decodeTokens: 1 },
];
