// Extraction of facts from a conversation, on a worker of its pool: where a model can be asked. Its texts go from the store to
// the store; Temporal sees ids and counts.
import type { ExtractionReport, IdleConversation } from '../contracts/background-work.ts';
import { embeddedText } from '../contracts/fact-text.ts';
import { vectorAt } from '../contracts/text-embedder.ts';
import type { TextEmbedder } from '../contracts/text-embedder.ts';
import { branchTo } from '../conversation/branch.ts';
import type { FactGuard } from '../moderation/fact-guard.ts';
import { storeExtraction, unreadTurns } from '../postgres/memory-extraction.ts';
import type { UnreadTurn } from '../postgres/memory-extraction.ts';
import type { Stores } from '../postgres/stores.ts';
import type { Logger } from '../process/logger.ts';
import { translateFailures } from './failure.ts';
import { findFacts } from './fact-finding.ts';
import type { FactJudge } from './fact-judge.ts';

export interface ExtractionDeps {
  readonly stores: Stores;
  readonly logger: Logger;
  readonly guard: FactGuard;
  /** Null where the pool's engine takes no choices. */
  readonly judge: FactJudge | null;
  /** Loaded when it is first wanted. */
  readonly embedder: () => TextEmbedder;
}

/** Turns read at once. Of a conversation that was idle for minutes, all that are new; of a longer one the newest. */
const MAX_TURNS = 400;

const NOTHING = { numCandidates: 0, numRefused: 0, numJudgedOut: 0, facts: [] };

export function createExtractionActivities(deps: ExtractionDeps) {
  const { stores, logger, guard, judge } = deps;

  /**
   * Considers everything up to `lastTurnId` once. Facts, their sources and the boundary are one transaction: a second run
   * finds the boundary moved, and after a boundary that was lost, every source known.
   */
  const extractFacts = async (idle: IdleConversation): Promise<ExtractionReport> => {
    const db = stores.primaryOf(idle.userId);
    const unread = await unreadTurns(db, idle, MAX_TURNS);
    const turns = unread?.isWanted === true ? readable(unread.turns, idle.lastTurnId) : [];
    const { facts, ...counts } =
      turns.length === 0 ? NOTHING : await findFacts(turns, guard, judge);
    const embedded = await embed(facts, deps.embedder);
    const stored = await storeExtraction(db, idle, embedded.facts, embedded.model);
    const { numNew, numKnown } = stored;
    const report = { numTurns: turns.length, ...counts, numNew, numKnown };
    logger.info({ conversationId: idle.conversationId, ...report }, 'memory extracted');
    return report;
  };

  return translateFailures({ extractFacts }, logger);
}

/** The user's messages on the branch that counts, but for those that the policy stopped. */
function readable(turns: readonly UnreadTurn[], leaf: string): UnreadTurn[] {
  const branch = branchTo(turns, leaf);
  const stopped = new Set(
    branch
      .filter(({ finishReason }) => finishReason === 'content_filter')
      .map(({ parentTurnId }) => parentTurnId),
  );
  return branch.filter(({ role, turnId }) => role === 'user' && !stopped.has(turnId));
}

async function embed<Fact extends { readonly text: string }>(
  facts: readonly Fact[],
  load: () => TextEmbedder,
): Promise<{ facts: readonly (Fact & { vector: Float32Array })[]; model: string }> {
  if (facts.length === 0) return { facts: [], model: '' };
  const embedder = load();
  const vectors = await embedder.embed(facts.map(({ text }) => embeddedText(text)));
  return {
    facts: facts.map((fact, at) => ({ ...fact, vector: vectorAt(vectors, embedder.width, at) })),
    model: embedder.model,
  };
}
