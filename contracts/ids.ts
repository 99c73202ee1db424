// Branded identifiers of everything that crosses a border, and the one place that mints them.
// A turn id is a UUIDv7: it is minted by the gateway only, and its time selects the month partition of `turns`.
import { v4, v7, validate } from 'uuid';

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

export type UserId = Branded<'UserId'>;
export type OrgId = Branded<'OrgId'>;
export type ConversationId = Branded<'ConversationId'>;
/** Id of one row of `turns`: a user message or an assistant reply. A reply's id also names its log and its workflow. */
export type TurnId = Branded<'TurnId'>;
export type FactId = Branded<'FactId'>;

/** A fresh time-ordered turn id. Source: RFC 9562 §5.7. */
export function newTurnId(): TurnId {
  return v7() as TurnId;
}

export function newConversationId(): ConversationId {
  return v7() as ConversationId;
}

/** Clocks of gateways differ by less than this. */
const CLOCK_SKEW_MS = 24 * 60 * 60_000;

/**
 * At or below every turn that was minted after an id: of a conversation all its turns, of a turn all that follow it. Both
 * begin with their time; it keeps statements away from the months before.
 */
export function firstTurnIdOf(id: ConversationId | TurnId): TurnId {
  const digits = id.replaceAll('-', '');
  const mintedAt = digits[12] === '7' ? Number.parseInt(digits.slice(0, 12), 16) : 0;
  const time = Math.max(0, mintedAt - CLOCK_SKEW_MS)
    .toString(16)
    .padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-000000000000` as TurnId;
}

export function newFactId(): FactId {
  return v4() as FactId;
}

/** Of one summary of a conversation's older turns. */
export function newSummaryId(): string {
  return v7();
}

/** Of one step of retention, in the record of what was erased. */
export function newRetentionId(): string {
  return v7();
}

/** Whether `text` has the form of an id. A text that does not cannot exist, so callers answer 404, never a database error. */
export function isUuid(text: string): boolean {
  return validate(text);
}
