// A stored turn as readers get it and as the cache of recent turns keeps it: without what only the store and a resumed
// stream need.
import type { TurnId } from './ids.ts';
import type { FinishReason, ModerationVerdict } from './turn-facts.ts';
import type { WireUsage } from './turn-events.ts';

export interface ShownTurn {
  readonly turnId: TurnId;
  readonly role: 'user' | 'assistant';
  readonly content: string;
  /** By the model that made it; null where nobody counted. */
  readonly tokenCount: number | null;
  readonly parentTurnId: TurnId | null;
  readonly replacesTurnId: TurnId | null;
  readonly model: string | null;
  readonly servedModel: string | null;
  readonly finishReason: FinishReason | null;
  readonly errorCode: string | null;
  readonly usage: WireUsage | null;
  readonly moderationVerdict: ModerationVerdict | null;
  /** Which of its request's replies it is; null where there is one. */
  readonly sampleIndex: number | null;
  readonly createdAt: Date;
}
