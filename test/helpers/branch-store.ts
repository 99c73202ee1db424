// The branch model's steps on the real statements: one conversation in PostgreSQL.
import { newConversationId } from '../../contracts/ids.ts';
import type { ConversationId, TurnId, UserId } from '../../contracts/ids.ts';
import { sampleTurnIds } from '../../contracts/samples.ts';
import { turnParams } from '../../contracts/turn-request.ts';
import { lastReplyBelow } from '../../conversation/tree.ts';
import { moveActiveTurn } from '../../postgres/active-turn.ts';
import type { MoveOutcome } from '../../postgres/active-turn.ts';
import { findConversation, insertConversation } from '../../postgres/conversations.ts';
import { deleteConversation } from '../../postgres/erasure.ts';
import { turnLinks } from '../../postgres/history.ts';
import type { Pool } from '../../postgres/pool.ts';
import { acceptTurn, withdrawRequest } from '../../postgres/turn-requests.ts';
import type { AcceptOutcome } from '../../postgres/turn-requests.ts';
import { openTurn, storeAssistantTurn } from '../../postgres/turns.ts';
import type { OpenedTurn, StoredReplies } from '../../postgres/turns.ts';
import type { Owner } from '../../bench/store/owner.ts';
import type { ModelTurn, Planned } from './branch-model.ts';

const FIRST = '00000000-0000-7000-8000-000000000000' as TurnId;
const USAGE = { promptTokens: 3, completionTokens: 2, cachedTokens: 0 };
const PARAMS = turnParams.parse({
  maxTokens: 10,
  temperature: 0,
  topP: 1,
  seed: 1,
  stop: [],
  reasoning: false,
});

export interface StoredState {
  readonly turns: ModelTurn[];
  readonly activeTurnId: TurnId | null;
  readonly version: number;
}

export class BranchStore {
  readonly id: ConversationId;
  readonly #db: Pool;
  readonly #userId: UserId;

  private constructor(db: Pool, userId: UserId, id: ConversationId) {
    this.#db = db;
    this.#userId = userId;
    this.id = id;
  }

  static async create(db: Pool, { userId, orgId }: Owner): Promise<BranchStore> {
    const conversationId = newConversationId();
    const rest = { model: 'm', region: 'local', systemPrompt: null, title: null };
    await insertConversation(db, { conversationId, userId, orgId, ...rest });
    return new BranchStore(db, userId, conversationId);
  }

  accept({ isContinuation, numSamples, ...planned }: Planned): Promise<AcceptOutcome> {
    const turn = {
      ...planned,
      conversationId: this.id,
      userId: this.#userId,
      content: planned.isRegeneration ? null : `message ${planned.turnId}`,
      params: { ...PARAMS, n: numSamples },
      model: 'm',
      pool: 'p',
      idempotencyKey: null,
      bodyHash: null,
    };
    return acceptTurn(this.#db, turn, isContinuation);
  }

  open(turnId: TurnId): Promise<OpenedTurn | null> {
    return openTurn(this.#db, turnId);
  }

  end(turnId: TurnId, numSamples: number): Promise<StoredReplies | null> {
    const finishReason = 'stop' as const;
    const ended = { finishReason, usage: USAGE, costUsd: 0 };
    const samples = sampleTurnIds(turnId, numSamples).map((each) => ({
      ...ended,
      turnId: each,
      content: `reply ${each}`,
      errorCode: null,
      streamOffsets: [0, 3],
    }));
    const served = { model: 'm', servedModel: 's', pool: 'p', verdict: null, continuation: null };
    return storeAssistantTurn(this.#db, { ...ended, ...served, turnId, samples });
  }

  withdraw(turnId: TurnId): Promise<boolean> {
    return withdrawRequest(this.#db, turnId);
  }

  move(turnId: TurnId): Promise<MoveOutcome> {
    const endOf = (turns: Parameters<typeof lastReplyBelow>[0]): TurnId | null =>
      (lastReplyBelow(turns, turnId)?.turnId ?? null) as TurnId | null;
    return moveActiveTurn(this.#db, this.#userId, this.id, { turnId, endOf }, {});
  }

  async delete(): Promise<void> {
    await deleteConversation(this.#db, this.#userId, this.id);
  }

  /** Null when it is deleted. */
  async state(): Promise<StoredState | null> {
    const row = await findConversation(this.#db, this.#userId, this.id);
    if (row === null) return null;
    const { activeTurnId, version } = row;
    const turns = (await turnLinks(this.#db, this.id, FIRST)).map((each) => ({
      ...each,
      sampleIndex: each.sampleIndex ?? null,
    }));
    return { turns, activeTurnId, version };
  }
}
