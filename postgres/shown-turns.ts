// The columns of a turn that readers get, and their row.
import type { TurnId } from '../contracts/ids.ts';
import type { ShownTurn } from '../contracts/shown-turn.ts';
import type { FinishReason, ModerationVerdict } from '../contracts/turn-facts.ts';
import type { WireUsage } from '../contracts/turn-events.ts';

export const SHOWN_COLUMNS = `turn_id, role, content, token_count, parent_turn_id, replaces_turn_id, model, served_model,
  finish_reason, error_code, usage, moderation_verdict, sample_index, created_at`;

export interface ShownTurnRow {
  turn_id: TurnId;
  role: 'user' | 'assistant';
  content: string;
  token_count: number | null;
  parent_turn_id: TurnId | null;
  replaces_turn_id: TurnId | null;
  model: string | null;
  served_model: string | null;
  finish_reason: FinishReason | null;
  error_code: string | null;
  usage: WireUsage | null;
  moderation_verdict: ModerationVerdict | null;
  sample_index: number | null;
  created_at: Date;
}

export function toShownTurn(each: ShownTurnRow): ShownTurn {
  return {
    turnId: each.turn_id,
    role: each.role,
    content: each.content,
    tokenCount: each.token_count,
    parentTurnId: each.parent_turn_id,
    replacesTurnId: each.replaces_turn_id,
    model: each.model,
    servedModel: each.served_model,
    finishReason: each.finish_reason,
    errorCode: each.error_code,
    usage: each.usage,
    moderationVerdict: each.moderation_verdict,
    sampleIndex: each.sample_index,
    createdAt: each.created_at,
  };
}
