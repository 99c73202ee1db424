// The answer that is being written, as a value: each update of its stream makes the next one. Pure.
import type { DoneData, OpenData, Turn } from './api-types.ts';
import type { TurnUpdate } from './turn-stream.ts';

/** One reply of a turn, as far as it was read. */
export interface Reply {
  readonly text: string;
  readonly done: DoneData | null;
}

export interface Answer extends Reply {
  readonly open: OpenData | null;
  /** Replies beside the first, whose text and end are the answer's own: another client may ask for several. */
  readonly others: readonly Reply[];
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
    others: [],
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
      return { ...answer, text: '', others: answer.others.map(() => NOTHING), errorMessage: null };
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
      return {
        ...answer,
        open: event.data,
        others: (event.data.turn_ids ?? []).slice(1).map((_, at) => answer.others[at] ?? NOTHING),
      };
    case 'token':
      return {
        ...changed(answer, event.data.index, ({ text }) => ({ text: text + event.data.text })),
        ttftMs: answer.ttftMs ?? (isJoined ? null : nowMs - answer.askedAtMs),
      };
    case 'error':
      return { ...answer, errorMessage: event.data.message };
    case 'done':
      return changed(answer, event.data.index, () => ({ done: event.data }));
    case 'retry':
    case 'moderation':
      return answer;
  }
}

const NOTHING: Reply = { text: '', done: null };

/** The answer with a change to one of its replies. */
function changed(
  answer: Answer,
  index: number | undefined,
  change: (reply: Reply) => Partial<Reply>,
): Answer {
  if (index === undefined || index === 0) return { ...answer, ...change(answer) };
  const others = answer.others.map((reply, at) =>
    at === index - 1 ? { ...reply, ...change(reply) } : reply,
  );
  return { ...answer, others };
}

/**
 * The answer's replies as the turns that the service has stored, or will store, under the same ids.
 * @param turnId of the first, until the stream opens
 */
export function answerTurns(
  answer: Answer,
  turnId: string,
  parentTurnId: string,
  replaces: string | null,
): [Turn, ...Turn[]] {
  const { open, others } = answer;
  const turnOf = ({ text, done }: Reply, id: string): Turn => ({
    turn_id: id,
    role: 'assistant',
    content: text,
    parent_turn_id: parentTurnId,
    replaces_turn_id: replaces,
    model: open?.model ?? null,
    served_model: open?.served_model ?? null,
    finish_reason: done?.finish_reason ?? null,
    usage: done?.usage ?? null,
    created_at: new Date(answer.askedAtMs).toISOString(),
  });
  const first = turnOf(answer, open?.turn_id ?? turnId);
  if (others.length === 0) return [first];
  const rest = others.map((reply, at) => ({
    ...turnOf(reply, open?.turn_ids?.[at + 1] ?? `${turnId}${at + 1}`),
    index: at + 1,
  }));
  return [{ ...first, index: 0 }, ...rest];
}
