// The entry that opens a turn's log. Made for the log, again when the log is restored, and for a reader who comes after it
// has expired: all must be equal, down to the order of the fields.
import type { ConversationId, TurnId } from './ids.ts';
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
}

export function openData(turn: OpenedTurn): OpenData {
  const { turnId, userTurnId, conversationId, model, servedModel, pool, numSamples } = turn;
  return {
    turn_id: turnId,
    user_turn_id: userTurnId,
    conversation_id: conversationId,
    model,
    served_model: servedModel,
    pool,
    ...(numSamples === 1 ? {} : { turn_ids: sampleTurnIds(turnId, numSamples) }),
  };
}
