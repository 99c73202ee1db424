// The answer that is being written, as a value: each update of its stream makes the next one. Pure.
import type { DoneData, OpenData, Turn } from './api-types.ts';
import type { TurnUpdate } from './turn-stream.ts';

export interface Answer {
  readonly open: OpenData | null;
  readonly text: string;
  readonly done: DoneData | null;
  readonly errorMessage: string | null;
  /** What the line to the service is like. */
  readonly link: 'connecting' | 'connected' | 'lost' | 'delayed';
  /** While delayed: when the next try is made (epoch ms) and what was said. */
  readonly retryAtMs: number | null;
  readonly delayMessage: string | null;
  readonly askedAtMs: number;
  /** From asking to the first text; null until then, and for an answer that was joined in its middle. */
  readonly ttftMs: number | null;
}

export function newAnswer(askedAtMs: number): Answer {
  return {
    open: null,
    text: '',
    done: null,
    errorMessage: null,
    link: 'connecting',
    retryAtMs: null,
    delayMessage: null,
    askedAtMs,
    ttftMs: null,
  };
}

/** @param isJoined the answer was running before this page asked, so its first text says nothing of the wait for it */
export function nextAnswer(
  answer: Answer,
  update: TurnUpdate,
  nowMs: number,
  isJoined: boolean,
): Answer {
  switch (update.type) {
    case 'restart':
      return { ...answer, text: '', errorMessage: null };
    case 'connected':
      return { ...answer, link: 'connected', retryAtMs: null, delayMessage: null };
    case 'lost':
      return { ...answer, link: 'lost', retryAtMs: null, delayMessage: null };
    case 'delayed':
      return {
        ...answer,
        link: 'delayed',
        retryAtMs: nowMs + update.seconds * 1000,
        delayMessage: update.error.message,
      };
    case 'event':
      return afterEvent(answer, update, nowMs, isJoined);
  }
}

function afterEvent(
  answer: Answer,
  { event }: Extract<TurnUpdate, { type: 'event' }>,
  nowMs: number,
  isJoined: boolean,
): Answer {
  switch (event.type) {
    case 'open':
      return { ...answer, open: event.data };
    case 'token':
      return {
        ...answer,
        text: answer.text + event.data.text,
        ttftMs: answer.ttftMs ?? (isJoined ? null : nowMs - answer.askedAtMs),
      };
    case 'error':
      return { ...answer, errorMessage: event.data.message };
    case 'done':
      return { ...answer, done: event.data };
    case 'retry':
    case 'moderation':
      return answer;
  }
}

/** The answer as the turn that the service has stored, or will store, under the same id. */
export function answerTurn(
  answer: Answer,
  turnId: string,
  parentTurnId: string,
  replaces: string | null,
): Turn {
  return {
    turn_id: answer.open?.turn_id ?? turnId,
    role: 'assistant',
    content: answer.text,
    parent_turn_id: parentTurnId,
    replaces_turn_id: replaces,
    model: answer.open?.model ?? null,
    served_model: answer.open?.served_model ?? null,
    finish_reason: answer.done?.finish_reason ?? null,
    usage: answer.done?.usage ?? null,
    created_at: new Date(answer.askedAtMs).toISOString(),
  };
}
