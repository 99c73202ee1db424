import { answerTurn, newAnswer, nextAnswer } from '../../../web/src/answer.ts';
import type { Answer } from '../../../web/src/answer.ts';
import { ApiError } from '../../../web/src/api-error.ts';
import type { TurnEvent } from '../../../web/src/api-types.ts';
import { DONE, OPEN, USAGE } from './turns.ts';

const after = (events: readonly TurnEvent[], isJoined = false): Answer =>
  events.reduce<Answer>(
    (answer, event, index) =>
      nextAnswer(answer, { type: 'event', event }, 1100 + index * 100, isJoined),
    newAnswer(1000),
  );
const text = (words: string): TurnEvent => ({ type: 'token', data: { text: words } });
const opened: TurnEvent = { type: 'open', data: OPEN };
const done: TurnEvent = {
  type: 'done',
  data: { turn_id: 't', finish_reason: 'stop', usage: USAGE },
};

describe('nextAnswer', () => {
  it('joins the text of its tokens', () => {
    expect(after([opened, text('Hel'), text('lo')]).text).toBe('Hello');
  });

  it('measures the wait for the first text, from asking on', () => {
    expect(after([opened, text('a'), text('b')]).ttftMs).toBe(200);
  });

  it('measures nothing for an answer that ran already', () => {
    expect(after([opened, text('a')], true).ttftMs).toBeNull();
  });

  it('forgets its text when the stream begins anew, but not how long the first took', () => {
    const answer = nextAnswer(after([opened, text('a')]), { type: 'restart' }, 5000, false);
    expect([answer.text, answer.ttftMs]).toEqual(['', 200]);
  });

  it('knows until when it must wait, and forgets it when the line is back', () => {
    const error = new ApiError({
      status: 429,
      code: 'rate_limited',
      message: 'Slowly.',
      retryAfterSeconds: 3,
      turnId: null,
    });
    const delayed = nextAnswer(newAnswer(0), { type: 'delayed', seconds: 3, error }, 1000, false);
    expect(delayed).toMatchObject({ link: 'delayed', retryAtMs: 4000, delayMessage: 'Slowly.' });
    expect(nextAnswer(delayed, { type: 'connected' }, 4000, false)).toMatchObject({
      link: 'connected',
      retryAtMs: null,
    });
  });

  it('keeps the words of an error', () => {
    const event: TurnEvent = {
      type: 'error',
      data: { code: 'generation_failed', message: 'It broke.' },
    };
    expect(after([opened, event]).errorMessage).toBe('It broke.');
  });
});

describe('answerTurn', () => {
  it('is the turn that the service stores', () => {
    expect(answerTurn(after([opened, text('hi'), done]), 'stand-in', 'u', null)).toMatchObject({
      turn_id: 't',
      role: 'assistant',
      content: 'hi',
      parent_turn_id: 'u',
      model: 'colloquy-mini',
      finish_reason: DONE.finish_reason,
      usage: USAGE,
    });
  });

  it('has the stand-in id until the stream opens', () => {
    expect(answerTurn(newAnswer(0), 'stand-in', 'u', null).turn_id).toBe('stand-in');
  });
});
