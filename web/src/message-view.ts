// What both kinds of message views have in common. A view is reused for whatever turn stands at its place.
import type { AnswerFacts } from './answer-memory.ts';
import type { RememberedFact, Turn } from './api-types.ts';
import type { LiveTurn } from './app-state.ts';
import type { PathStep } from './branches.ts';

export interface MessageProps {
  readonly step: PathStep;
  /** The live turn, when this message is its answer. */
  readonly live: LiveTurn | null;
  /** Nothing runs in this conversation, so a turn may be begun. */
  readonly canAct: boolean;
  /** The last message of the path. */
  readonly isLast: boolean;
  /** What the service remembers, for the line of what an answer used. */
  readonly facts: readonly RememberedFact[];
  readonly nowMs: number;
}

export interface MessageActions {
  readonly choose: (turnId: string) => void;
  readonly edit: (turn: Turn, text: string) => void;
  readonly regenerate: (turn: Turn) => void;
  readonly factsOf: (turnId: string) => AnswerFacts | null;
}

export interface MessageView {
  readonly role: Turn['role'];
  readonly element: HTMLElement;
  update(props: MessageProps): void;
}
