import { deliveredReplies } from '../../../activities/delivered-replies.ts';
import { endedReplies, totalOf } from '../../../activities/ended-replies.ts';
import { recallLog } from '../../../activities/recalled-log.ts';
import type { TurnId } from '../../../contracts/ids.ts';
import type { NumberedEntry, TurnEntry } from '../../../contracts/turn-events.ts';
import type { PersistInput } from '../../../contracts/turn-workflow.ts';

const TURN = '01900000-0000-7000-8000-000000000010' as TurnId;
const token = (index: number, text: string): TurnEntry => ({
  type: 'token',
  data: { index, text, ids: [...text].map((each) => each.codePointAt(0) ?? 0) },
});
const log = [
  { type: 'open', data: {} } as TurnEntry,
  token(0, 'ab'),
  token(1, 'x'),
  token(0, 'c'),
  { type: 'finish', data: { index: 0, reason: 'stop' } },
  { type: 'retry', data: { attempt: 2 } },
  token(1, 'yz'),
].map((entry, at) => ({ n: at + 1, ...entry })) as NumberedEntry[];
const usage = { promptTokens: 7, completionTokens: 6, cachedTokens: 2 };
const input = {
  turn: { turnId: TURN },
  finishReason: 'cancelled',
  errorCode: null,
  usage,
} as PersistInput;
const prices = { input: 1, cached_input: 0.5, output: 3 };

describe('the replies of a log', () => {
  it('are recalled each with its own ids, length and end', () => {
    expect(recallLog(log, 3).replies).toEqual([
      { outputIds: [97, 98, 99], textLength: 3, finish: 'stop' },
      { outputIds: [120, 121, 122], textLength: 3, finish: null },
      { outputIds: [], textLength: 0, finish: null },
    ]);
  });

  it('are delivered each with its own length after every entry of the log', () => {
    expect(deliveredReplies(log, 2)).toEqual([
      { text: 'abc', numTokens: 3, finishReason: 'stop', offsets: [0, 2, 2, 3, 3, 3, 3] },
      { text: 'xyz', numTokens: 3, finishReason: null, offsets: [0, 0, 1, 1, 1, 1, 3] },
    ]);
  });

  it('keep their own end where they came to one, else take the turn’s', () => {
    const ended = endedReplies(deliveredReplies(log, 2), input, prices);
    expect(ended.map(({ finishReason }) => finishReason)).toEqual(['stop', 'cancelled']);
    expect(ended.map(({ turnId }) => turnId.slice(-2))).toEqual(['10', '11']);
    expect(totalOf(ended).finishReason).toBe('cancelled');
    const failed = { ...input, finishReason: 'error', errorCode: 'OVERLOADED' } as PersistInput;
    expect(
      endedReplies(deliveredReplies(log, 2), failed, prices).map(({ errorCode }) => errorCode),
    ).toEqual([null, 'OVERLOADED']);
  });

  it('count the prompt once and every output, and their costs add up to the turn’s', () => {
    const ended = endedReplies(deliveredReplies(log, 2), input, prices);
    expect(ended.map((each) => each.usage)).toEqual([
      { promptTokens: 7, completionTokens: 3, cachedTokens: 2 },
      { promptTokens: 0, completionTokens: 3, cachedTokens: 0 },
    ]);
    const total = totalOf(ended);
    expect(total.usage).toEqual(usage);
    // 5 fresh at 1, 2 cached at 0.5, 6 output at 3 USD per million.
    expect(total.costUsd).toBe(0.000024);
  });
});
