// Beam search as its definition says it (inference/beam-search.ts), over all tokens it is given and with nothing shared.

type MaybePromise<Value> = Value | Promise<Value>;

export interface SlowSearch {
  readonly prompt: readonly number[];
  readonly numBeams: number;
  readonly lengthPenalty: number;
  readonly maxTokens: number;
  readonly stops: readonly number[];
  /** [token id, logprob] of the tokens that may follow a context. */
  readonly distribution: (
    context: readonly number[],
  ) => MaybePromise<readonly (readonly [id: number, logprob: number])[]>;
}

export interface SlowHypothesis {
  readonly tokenIds: readonly number[];
  readonly score: number;
  readonly reason: 'stop' | 'length';
}

/** All complete hypotheses, best first. */
export async function slowBeamSearch(search: SlowSearch): Promise<SlowHypothesis[]> {
  const { prompt, numBeams, maxTokens, stops, distribution } = search;
  const complete: SlowHypothesis[] = [];
  const scoreOf = (tokenIds: readonly number[], total: number): number =>
    total / Math.max(1, tokenIds.length) ** search.lengthPenalty;
  let beams: { tokenIds: number[]; total: number }[] = [{ tokenIds: [], total: 0 }];
  while (complete.length < numBeams && beams.length > 0) {
    const proposals: { tokenIds: number[]; id: number; total: number }[] = [];
    for (const { tokenIds, total } of beams) {
      const likely = await distribution([...prompt, ...tokenIds]);
      for (const [id, logprob] of likely.toSorted(([a, p], [b, q]) => q - p || a - b))
        proposals.push({ tokenIds, id, total: total + logprob });
    }
    proposals.sort((one, other) => other.total - one.total);
    beams = [];
    for (const [place, { tokenIds, id, total }] of proposals.entries()) {
      if (stops.includes(id)) {
        if (place < numBeams && beams.length < numBeams)
          complete.push({ tokenIds, score: scoreOf(tokenIds, total), reason: 'stop' });
      } else if (beams.length < numBeams) beams.push({ tokenIds: [...tokenIds, id], total });
    }
    if (complete.length < numBeams && beams[0]?.tokenIds.length === maxTokens) {
      for (const { tokenIds, total } of beams)
        complete.push({ tokenIds, score: scoreOf(tokenIds, total), reason: 'length' });
      break;
    }
  }
  return complete.sort((one, other) => other.score - one.score);
}
