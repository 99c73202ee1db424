// The entry that opens a turn's log. Made for the log, again when the log is restored, and for a reader who comes after it
// has expired: all must be equal, down to the order of the fields.
import type { ConversationId, FactId, TurnId } from './ids.ts';
import { sampleTurnIds } from './samples.ts';
import type { OpenData } from './turn-events.ts';

export interface OpenedTurn {
  readonly turnId: TurnId;
  readonly userTurnId: TurnId;
  readonly conversationId: ConversationId;
  readonly model: string;
  readonly servedModel: string;
  readonly pool: string;
  readonly numSamples: number;
  /** Facts that were chosen for it when it was accepted; left out, none. */
  readonly factIds?: readonly FactId[];
}

export function openData(turn: OpenedTurn): OpenData {
  const {
    turnId,
    userTurnId,
    conversationId,
    model,
    servedModel,
    pool,
    numSamples,
    factIds = [],
  } = turn;
  const open = {
    turn_id: turnId,
    user_turn_id: userTurnId,
    conversation_id: conversationId,
    model,
    served_model: servedModel,
    pool,
    ...(numSamples === 1 ? {} : { turn_ids: sampleTurnIds(turnId, numSamples) }),
  };
  return withFacts(open, factIds);
}

/** The same entry with the turn's facts, which come last. */
export function withFacts(open: OpenData, factIds: readonly FactId[]): OpenData {
  return { ...open, ...(factIds.length === 0 ? {} : { memory: [...factIds] }) };
}
