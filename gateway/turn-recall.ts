// The facts of a new turn: its message is embedded while the turn is being accepted, and what belongs to it is chosen and
// written in one statement behind that. A turn waits a bounded time and then goes on without.
import { recallQuery } from '../contracts/fact-text.ts';
import type { FactId, UserId } from '../contracts/ids.ts';
import type { TextEmbedder } from '../contracts/text-embedder.ts';
import type { AcceptedTurn } from '../contracts/turn-request.ts';
import { countUses, giveFacts, giveFactsAgain } from '../postgres/memory-recall.ts';
import type { Db } from '../postgres/pool.ts';
import type { GatewayDeps } from './deps.ts';

type RecallDeps = Pick<GatewayDeps, 'stores' | 'memory' | 'metrics' | 'logger'>;

const MAX_REMEMBERED_USERS = 10_000;

/** `none`: no fact belongs to the message. `late`: the turn went on without. */
type RecallOutcome = 'used' | 'none' | 'late' | 'failed';

export class TurnRecalls {
  readonly #deps: RecallDeps;
  /** Had facts when they were last seen here: their next message is embedded before anything else is known. */
  readonly #usersWithFacts = new Set<UserId>();

  constructor(deps: RecallDeps) {
    this.#deps = deps;
  }

  /** @param content of the message; null when a reply is written again */
  begin(userId: UserId, content: string | null): TurnRecall {
    const users = this.#usersWithFacts;
    const remember = (hasFacts: boolean): void => {
      if (!hasFacts) users.delete(userId);
      else if (users.size < MAX_REMEMBERED_USERS) users.add(userId);
    };
    const recall = new TurnRecall(this.#deps, { userId, content, remember });
    if (users.has(userId)) recall.embed();
    return recall;
  }
}

interface Recalled {
  readonly userId: UserId;
  readonly content: string | null;
  readonly remember: (hasFacts: boolean) => void;
}

class TurnRecall {
  readonly #deps: RecallDeps;
  readonly #remember: Recalled['remember'];
  #hasMemory = false;
  readonly #userId: UserId;
  readonly #content: string | null;
  #vector: Promise<Float32Array> | null = null;

  constructor(deps: RecallDeps, { userId, content, remember }: Recalled) {
    this.#deps = deps;
    this.#userId = userId;
    this.#content = content;
    this.#remember = remember;
  }

  /** The conversation was looked up: there are facts that may be told, or there are none. */
  found(hasMemory: boolean): void {
    this.#hasMemory = hasMemory;
    this.#remember(hasMemory);
    if (hasMemory) this.embed();
  }

  /** Gives an accepted turn its facts; to be called once, before anyone is told of the turn. Never fails. */
  async give(turn: AcceptedTurn): Promise<readonly FactId[]> {
    const { memory, metrics, logger, stores } = this.#deps;
    if (memory.embedder === null || memory.recallMs === 0 || !this.#hasMemory) return [];
    const done = (outcome: RecallOutcome, facts: readonly FactId[] = []): readonly FactId[] => {
      metrics.memoryRecalls.inc({ outcome });
      return facts;
    };
    const db = stores.primaryOf(this.#userId);
    try {
      const facts = await this.#choose(db, memory.embedder, turn);
      if (facts === 'late') return done('late');
      if (facts.length === 0) return done('none');
      countUses(db, this.#userId, facts).catch((error: unknown) =>
        logger.debug({ error }, 'uses of facts were not counted'),
      );
      return done('used', facts);
    } catch (error) {
      logger.warn({ error, turnId: turn.turnId }, 'a turn goes on without its facts');
      return done('failed');
    }
  }

  async #choose(
    db: Db,
    embedder: TextEmbedder,
    turn: AcceptedTurn,
  ): Promise<readonly FactId[] | 'late'> {
    if (turn.isRegeneration) return giveFactsAgain(db, turn);
    if (this.#vector === null) return [];
    const vector = await within(this.#deps.memory.recallMs, this.#vector);
    if (vector === 'late') return 'late';
    return giveFacts(db, turn.turnId, { userId: this.#userId, vector, model: embedder.model });
  }

  /** Begins with the vector, unless it is under way. */
  embed(): void {
    const { embedder, recallMs } = this.#deps.memory;
    if (embedder === null || recallMs === 0) return;
    if (this.#content === null || this.#vector !== null) return;
    this.#vector = embedder.embed([recallQuery(this.#content)]);
    this.#vector.catch(() => undefined); // It is awaited later, or not at all.
  }
}

async function within<Result>(ms: number, work: Promise<Result>): Promise<Result | 'late'> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
