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

export function newFactId(): FactId {
  return v4() as FactId;
}

/** Of one step of retention, in the record of what was erased. */
export function newRetentionId(): string {
  return v7();
}

/** Whether `text` has the form of an id. A text that does not cannot exist, so callers answer 404, never a database error. */
export function isUuid(text: string): boolean {
  return validate(text);
}
