// From user turns to the facts that are kept: rules find, a guard refuses, a model judges. Text goes in and out, nothing is
// stored or logged here.
import { candidatesIn } from '../conversation/fact-candidates.ts';
import type { FactCandidate } from '../conversation/fact-candidates.ts';
import { factSentences } from '../conversation/fact-sentences.ts';
import type { TurnId } from '../contracts/ids.ts';
import type { FactGuard } from '../moderation/fact-guard.ts';
import type { FactJudge } from './fact-judge.ts';

/** Judged in one extraction at most: more would be a document, not a conversation. */
const MAX_CANDIDATES = 100;

export interface FoundFact {
  readonly text: string;
  readonly topic: string | null;
  readonly sourceTurnId: TurnId;
}

export interface FactFinding {
  readonly facts: readonly FoundFact[];
  readonly numCandidates: number;
  readonly numRefused: number;
  readonly numJudgedOut: number;
}

/** @param judge null where no model can be asked: what rules and guard let through is kept then */
export async function findFacts(
  turns: readonly { readonly turnId: TurnId; readonly content: string }[],
  guard: FactGuard,
  judge: FactJudge | null,
): Promise<FactFinding> {
  const candidates = turns
    .flatMap(({ turnId, content }) =>
      factSentences(content)
        .flatMap(candidatesIn)
        .map((candidate) => ({ ...candidate, sourceTurnId: turnId })),
    )
    .slice(0, MAX_CANDIDATES);
  const refusals = await Promise.all(
    candidates.map(async ({ text, sentence }) => guard.refuses(text, sentence)),
  );
  const allowed = candidates.filter((_, at) => refusals[at] === null);
  // Asked together, they are one batch of the engine.
  const verdicts = await Promise.all(allowed.map((each) => isLasting(each, judge)));
  const facts = allowed.filter((_, at) => verdicts[at] === true);
  return {
    facts: facts.map(({ text, topic, sourceTurnId }) => ({ text, topic, sourceTurnId })),
    numCandidates: candidates.length,
    numRefused: candidates.length - allowed.length,
    numJudgedOut: allowed.length - facts.length,
  };
}

/** A name, a home, a diet: what there is one of at a time is lasting by its kind. */
async function isLasting(
  { text, topic }: FactCandidate,
  judge: FactJudge | null,
): Promise<boolean> {
  return judge === null || topic !== null || judge.isLasting(text);
}
