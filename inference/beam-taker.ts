// Does to sequences what their search has decided: beams that go on twice branch, and share their blocks; beams that do not
// go on give theirs back.
import type { SequenceFinish } from '../contracts/engine.ts';
import type { Child } from './beam-search.ts';
import type { StepLogprobs } from './forward-batch.ts';
import type { LiveSequences } from './live-sequences.ts';
import type { Scheduler } from './scheduler.ts';
import type { Sequence } from './sequence.ts';
import { logprobsOf } from './step-logprobs.ts';

export interface BeamTakerDeps {
  readonly scheduler: Scheduler;
  readonly live: LiveSequences;
  readonly contextLength: number;
  readonly isAborted: (sequence: Sequence) => boolean;
  readonly finish: (sequence: Sequence, finish: SequenceFinish) => void;
  readonly drop: (sequence: Sequence) => void;
  readonly tell: (call: () => void) => void;
}

export class BeamTaker {
  readonly #deps: BeamTakerDeps;

  constructor(deps: BeamTakerDeps) {
    this.#deps = deps;
  }

  /** A beam's likely next tokens; with the last beam's the search goes on. */
  take(sequence: Sequence, sample: number, logprobs: StepLogprobs | null): void {
    const { search } = sequence;
    if (search === null || logprobs === null || sequence.state === 'finished') return;
    const { top } = logprobsOf(logprobs, sample, search.numContinuations);
    if (!search.tell(sequence, top) || search.beams.some(this.#deps.isAborted)) return;
    const { tokenIds, numOutputTokens, request } = sequence;
    const isLast =
      numOutputTokens + 1 >= request.maxTokens || tokenIds.length + 1 >= this.#deps.contextLength;
    const children = search.advance(isLast);
    if (children.length === 0) this.#end(sequence);
    else search.become(this.#raise(search.beams, children));
  }

  /** The next beams as sequences. A beam's first child goes on in it, after the others have branched off. */
  #raise(
    beams: readonly Sequence[],
    children: readonly Child<Sequence>[],
  ): { beam: Sequence; total: number }[] {
    const { scheduler, live, drop } = this.#deps;
    const goneOn = new Set<Sequence>();
    const free = freeIndexes(beams, children);
    const raised = children.map(({ beam, tokenId, total }) => {
      if (!goneOn.has(beam)) {
        goneOn.add(beam);
        return { beam, tokenId, total };
      }
      const branch = scheduler.branch(beam, free.shift() ?? 0);
      live.add(branch);
      return { beam: branch, tokenId, total };
    });
    for (const beam of beams) {
      if (goneOn.has(beam)) beam.endForking();
      else drop(beam);
    }
    for (const { beam, tokenId } of raised) beam.tokenIds.push(tokenId);
    return raised;
  }

  #end(sequence: Sequence): void {
    const { finish, tell } = this.#deps;
    for (const [index, { tokenIds }] of (sequence.search?.replies ?? []).entries())
      if (tokenIds.length > 0) tell(() => sequence.listener.onTokens(tokenIds, undefined, index));
    finish(sequence, { reason: 'stop' });
  }
}

/** Indexes that no beam that goes on has: they only order beams of equal rank, but must tell them apart. */
function freeIndexes(beams: readonly Sequence[], children: readonly Child<Sequence>[]): number[] {
  const kept = new Set(children.map(({ beam }) => beam.sampleIndex));
  const most = Math.max(beams.length, children.length);
  return Array.from({ length: most }, (_, index) => index).filter((index) => !kept.has(index));
}
