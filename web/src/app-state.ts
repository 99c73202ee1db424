// Everything the page shows, as one value, and the questions that views ask of it. Pure.
import type { Answer } from './answer.ts';
import { answerTurns } from './answer.ts';
import { isCutAmongVersions, visiblePath } from './branches.ts';
import type { Conversation, Model, RememberedFact, Turn } from './api-types.ts';
import type { Choices, PathStep } from './branches.ts';

/** A turn whose stream this page follows. */
export interface LiveTurn {
  readonly conversationId: string;
  /** The message that was sent; null for a regeneration. Its id is a stand-in until the stream opens. */
  readonly userTurn: Turn | null;
  /** The user turn that is answered. */
  readonly answeredTurnId: string;
  readonly replacesTurnId: string | null;
  readonly answer: Answer;
  readonly isStopping: boolean;
}

/** The conversation in view; `id` is null for one that has no turn yet. */
export interface OpenConversation {
  readonly id: string | null;
  readonly title: string | null;
  readonly turns: readonly Turn[];
  readonly nextCursor: string | null;
  readonly choices: Choices;
  readonly status: 'loading' | 'ready' | 'failed';
}

export interface Notice {
  readonly text: string;
  readonly kind: 'error' | 'info';
}

export interface AppState {
  readonly isSignedIn: boolean;
  readonly signInError: string | null;
  readonly models: readonly Model[];
  /** Null leaves the choice to the service: the conversation's, or the tier's default. */
  readonly model: string | null;
  readonly conversations: readonly Conversation[];
  readonly nextCursor: string | null;
  readonly open: OpenConversation;
  readonly live: ReadonlyMap<string, LiveTurn>;
  readonly remembered: { readonly facts: readonly RememberedFact[]; readonly isEnabled: boolean };
  readonly notice: Notice | null;
  /** Text that goes back to the composer, because it could not be sent. A new object each time. */
  readonly returnedText: { readonly text: string } | null;
  readonly isSending: boolean;
}

export const EMPTY_CONVERSATION: OpenConversation = {
  id: null,
  title: null,
  turns: [],
  nextCursor: null,
  choices: new Map(),
  status: 'ready',
};

export const SIGNED_OUT: AppState = {
  isSignedIn: false,
  signInError: null,
  models: [],
  model: null,
  conversations: [],
  nextCursor: null,
  open: EMPTY_CONVERSATION,
  live: new Map(),
  remembered: { facts: [], isEnabled: true },
  notice: null,
  returnedText: null,
  isSending: false,
};

/** Sorts behind every UUID: a turn that the service has not named yet is the newest. */
export function pendingId(key: string): string {
  return `~${key}`;
}

export function isPending(turnId: string): boolean {
  return turnId.startsWith('~');
}

/** The live turn of the conversation in view. */
export function liveInView(state: AppState): LiveTurn | null {
  return state.open.id === null ? null : (state.live.get(state.open.id) ?? null);
}

/** The running answer's replies as turns of the tree. */
export function liveAnswerTurns(live: LiveTurn): [Turn, ...Turn[]] {
  return answerTurns(live.answer, pendingId('answer'), live.answeredTurnId, live.replacesTurnId);
}

/** The first of them, which the view turns to. */
export function liveAnswerTurn(live: LiveTurn): Turn {
  return liveAnswerTurns(live)[0];
}

/** Stored turns and the live ones; a turn that is both is taken as stored. */
export function knownTurns(open: OpenConversation, live: LiveTurn | null): Turn[] {
  const running =
    live === null
      ? []
      : [...(live.userTurn === null ? [] : [live.userTurn]), ...liveAnswerTurns(live)];
  return mergeTurns(running, open.turns);
}

/** Later lists win. */
export function mergeTurns(...lists: readonly (readonly Turn[])[]): Turn[] {
  return [...new Map(lists.flat().map((turn) => [turn.turn_id, turn])).values()];
}

export function pathInView(state: AppState): PathStep[] {
  const { choices, nextCursor } = state.open;
  const turns = knownTurns(state.open, liveInView(state));
  const path = visiblePath(turns, choices);
  if (nextCursor === null || !isCutAmongVersions(turns, path)) return path;
  return path.map((step, index) => (index === 0 ? { ...step, isCut: true } : step));
}
