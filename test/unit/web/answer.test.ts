import { answerTurns, newAnswer, nextAnswer } from '../../../web/src/answer.ts';
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

describe('answerTurns', () => {
  it('is the turn that the service stores', () => {
    expect(answerTurns(after([opened, text('hi'), done]), 'stand-in', 'u', null)).toMatchObject([
      {
        turn_id: 't',
        role: 'assistant',
        content: 'hi',
        parent_turn_id: 'u',
        model: 'colloquy-mini',
        finish_reason: DONE.finish_reason,
        usage: USAGE,
      },
    ]);
  });

  it('are all replies of a turn with several, each with its own text and end', () => {
    const several: TurnEvent = { type: 'open', data: { ...OPEN, turn_ids: ['t', 't1', 't2'] } };
    const of = (index: number, words: string): TurnEvent => ({
      type: 'token',
      data: { index, text: words },
    });
    const end: TurnEvent = {
      type: 'done',
      data: { index: 2, turn_id: 't2', finish_reason: 'length', usage: USAGE },
    };
    const answer = after([several, of(0, 'a'), of(2, 'x'), of(0, 'b'), of(2, 'y'), end]);
    expect(answerTurns(answer, 'stand-in', 'u', 'r')).toMatchObject([
      { turn_id: 't', index: 0, content: 'ab', finish_reason: null },
      { turn_id: 't1', index: 1, content: '', replaces_turn_id: 'r' },
      { turn_id: 't2', index: 2, content: 'xy', finish_reason: 'length', usage: USAGE },
    ]);
    const again = nextAnswer(answer, { type: 'restart' }, 0, false);
    expect(answerTurns(again, 's', 'u', null).map(({ content }) => content)).toEqual(['', '', '']);
  });

  it('has the stand-in id until the stream opens', () => {
    expect(answerTurns(newAnswer(0), 'stand-in', 'u', null)[0].turn_id).toBe('stand-in');
  });
});
