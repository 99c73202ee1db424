// Adds guesses to the sequences that get a token in a step, as far as they are worth it and have room. Where the last
// tokens occurred before, what followed them is guessed, unless the draft model is right more often; it guesses for the
// others.
import type { EngineStats } from '../contracts/engine.ts';
import { draftOf } from './batch-builder.ts';
import { DraftModel } from './draft-model.ts';
import type { DraftRequest } from './draft-model.ts';
import { planDrafts } from './draft-plan.ts';
import type { Executor } from './forward-batch.ts';
import type { Schedule, ScheduledSequence, Scheduler } from './scheduler.ts';
import type { Sequence } from './sequence.ts';
import { Speculator } from './speculator.ts';
import type { Draft, StepPlan } from './speculator.ts';
import { PRIOR_ESTIMATE, StepCost } from './step-cost.ts';

export interface DraftLimits {
  readonly maxNumBatchedTokens: number;
  readonly contextLength: number;
  /** Tokens guessed ahead for one sequence in one step; 0 or left out = no speculation. */
  readonly maxDraftTokens?: number | undefined;
}

/** A draft model's first steps are believed to cost this share of the model's. */
const PRIOR_DRAFT_COST = 0.25;
/** A draft model that is not asked is believed to get cheaper with every step: what was measured may have been a bad moment. */
const DISCOUNT = 0.999;
/** Of that belief, what each time takes away that it is asked, as it is measured then. */
const SOBERING = 0.1;
/** Of what decoding the rest of a reply costs, the most that the draft model may spend on catching up with it. */
const CATCH_UP_SHARE = 0.25;

export class Drafting {
  readonly #scheduler: Scheduler;
  readonly #limits: DraftLimits;
  readonly #maxDraftTokens: number;
  readonly #cost = new StepCost();
  readonly #lookup: Speculator;
  readonly #model: DraftModel | null;
  #discount = 1;
  #proposed = { lookup: 0, model: 0 };
  #accepted = { lookup: 0, model: 0 };

  /** @throws AppError INVALID_REQUEST when the executor's draft model does not fit it */
  constructor(executor: Executor, scheduler: Scheduler, limits: DraftLimits) {
    const { maxDraftTokens = 0 } = limits;
    this.#scheduler = scheduler;
    this.#limits = limits;
    this.#maxDraftTokens = maxDraftTokens;
    this.#lookup = new Speculator(maxDraftTokens, this.#cost);
    const { draft = null, blockSize } = executor;
    this.#model = draft === null || maxDraftTokens === 0 ? null : new DraftModel(draft, blockSize);
  }

  get stats(): EngineStats['speculation'] {
    const [proposed, accepted] = [this.#proposed, this.#accepted];
    return {
      proposedTokens: proposed.lookup + proposed.model,
      acceptedTokens: accepted.lookup + accepted.model,
      ...(this.#model !== null && {
        draftModel: {
          proposedTokens: proposed.model,
          acceptedTokens: accepted.model,
          kvBlocks: this.#model.kvBlocks,
        },
      }),
    };
  }

  /** Calls back with the schedule and its guesses: at once, unless the draft model is asked. Until then none of its sequences may go. */
  addDrafts(schedule: Schedule, callback: (error: Error | null, drafted: Schedule) => void): void {
    for (const sequence of schedule.preempted) this.#model?.forget(sequence);
    const plan: StepPlan = { numRows: 0, numTokens: 0 };
    for (const { sequence, numTokens } of schedule.scheduled) {
      plan.numRows += numTokens;
      if (numTokens === sequence.numPendingTokens) plan.numTokens += sequence.numDraws;
    }
    const drafts = new Map<Sequence, Draft>();
    const finish = (): void =>
      callback(null, {
        ...schedule,
        scheduled: schedule.scheduled.map((each) => ({
          ...each,
          draft: drafts.get(each.sequence),
        })),
      });
    const guessing = schedule.scheduled.filter((each) => this.#isGuessing(each));
    const model = this.#model;
    const known = this.#lookUp(guessing, plan, drafts, model);
    if (model === null) {
      finish();
      return;
    }
    const requests = this.#requestsOf(known, plan, model);
    const asked = new Set(requests.map(({ sequence }) => sequence));
    const others = known.filter(({ sequence }) => !asked.has(sequence));
    this.#lookUp(others, plan, drafts, null);
    if (requests.length === 0) {
      finish();
      return;
    }
    model.propose(requests, this.#limits.maxNumBatchedTokens, (error, guesses) => {
      for (const [sequence, tokenIds] of guesses) drafts.set(sequence, { tokenIds, kinds: null });
      if (error === null) finish();
      else callback(error, schedule);
    });
  }

  /** What became of a draft: the model agreed with the first `numAccepted` tokens of it. */
  settle(sequence: Sequence, draft: Draft, numAccepted: number): void {
    const source = draft.kinds === null ? 'model' : 'lookup';
    this.#proposed[source] += draft.tokenIds.length;
    this.#accepted[source] += numAccepted;
    if (source === 'lookup') this.#lookup.settle(sequence, draft, numAccepted);
    else this.#model?.settle(sequence, draft.tokenIds.length, numAccepted);
  }

  /** A step of so many rows took so long. */
  observeStep(numRows: number, durationMs: number): void {
    this.#cost.observe(numRows, durationMs);
  }

  /** A sequence is over. */
  forget(sequence: Sequence): void {
    this.#model?.forget(sequence);
  }

  /** See DraftModel. */
  checkIntegrity(live: readonly Sequence[]): void {
    this.#model?.checkIntegrity(live);
  }

  /**
   * It gets one token in this step, and no reply of another is to be forked from it. What a beam goes on with is decided by
   * all beams, one token at a time.
   */
  #isGuessing({ sequence, numTokens }: ScheduledSequence): boolean {
    const isAlone = sequence.numSeats === 1 && sequence.search === null;
    return isAlone && numTokens === sequence.numPendingTokens;
  }

  #roomFor({ tokenIds, numOutputTokens, request }: Sequence, plan: StepPlan): number {
    const { maxNumBatchedTokens, contextLength } = this.#limits;
    return Math.min(
      maxNumBatchedTokens - plan.numRows,
      request.maxTokens - numOutputTokens - 1,
      contextLength - tokenIds.length - 1,
    );
  }

  /**
   * Guesses by what the sequences have said before.
   * @param rival the draft model: it is left those that it guesses better; null = none of them
   * @returns those that got no guess
   */
  #lookUp(
    guessing: readonly ScheduledSequence[],
    plan: StepPlan,
    drafts: Map<Sequence, Draft>,
    rival: DraftModel | null,
  ): ScheduledSequence[] {
    return guessing.filter(({ sequence }) => {
      const leastRate = rival?.rateOf(sequence) ?? 0;
      const draft = this.#lookup.draft(sequence, plan, this.#roomFor(sequence, plan), leastRate);
      if (draft === null) return true;
      const numReserved = this.#scheduler.reserve(sequence, draft.tokenIds.length);
      const [tokenIds, kinds] = [draft.tokenIds, draft.kinds].map((each) =>
        each?.slice(0, numReserved),
      );
      if (numReserved > 0) drafts.set(sequence, { tokenIds: tokenIds ?? [], kinds: kinds ?? [] });
      return false;
    });
  }

  /** What the draft model is asked for; room for it is reserved. */
  #requestsOf(
    guessing: readonly ScheduledSequence[],
    plan: StepPlan,
    model: DraftModel,
  ): DraftRequest[] {
    const step = this.#cost.estimate ?? PRIOR_ESTIMATE;
    const [known, share] =
      model.cost.estimate === null
        ? [step, PRIOR_DRAFT_COST]
        : [model.cost.estimate, this.#discount];
    const draft = { fixedMs: known.fixedMs * share, rowMs: known.rowMs * share };
    const candidates = guessing
      .map(({ sequence }) => ({
        sequence,
        rate: model.rateOf(sequence),
        room: Math.min(
          this.#maxDraftTokens,
          this.#roomFor(sequence, plan),
          model.roomFor(sequence),
        ),
      }))
      .filter(({ sequence, room }) => {
        const numLeft = sequence.request.maxTokens - sequence.numOutputTokens;
        const restMs = numLeft * (step.fixedMs + step.rowMs);
        return room > 0 && model.numPending(sequence) * draft.rowMs <= restMs * CATCH_UP_SHARE;
      });
    const counts = planDrafts(candidates, { ...plan, model: step, draft });
    const isAsked = counts.some((count) => count > 0);
    if (isAsked) this.#discount += SOBERING * (1 - this.#discount);
    else if (guessing.length > 0) this.#discount *= DISCOUNT;
    return candidates.flatMap(({ sequence }, index) => {
      const wanted = Math.min(counts[index] ?? 0, this.#roomFor(sequence, plan));
      if (wanted < 1) {
        model.drift(sequence);
        return [];
      }
      const count = this.#scheduler.reserve(sequence, wanted);
      if (count < 1) return [];
      plan.numRows += count;
      return [{ sequence, count }];
    });
  }
}

/** Samples of a scheduled sequence that gets tokens: one, and one for each guess; or one for each reply it forks into. */
export function numSamplesOf(each: ScheduledSequence): number {
  const { numDraws } = each.sequence;
  return numDraws > 1 ? numDraws : 1 + draftOf(each).length;
}
