import { TokenFlusher } from '../../../activities/token-flusher.ts';
import { AppError } from '../../../contracts/errors.ts';
import type { NumberedEntry } from '../../../contracts/turn-events.ts';
import type { AppendResult } from '../../../contracts/turn-log.ts';
import { fakeServedModel } from '../../helpers/fake-served-model.ts';

const codes = (text: string): number[] => [...text].map((each) => each.codePointAt(0) ?? 0);

/** A log whose appends are answered by hand, or at once with `ok`. */
function harness(
  answers: ((entries: readonly NumberedEntry[]) => Promise<AppendResult>)[] = [],
  stop: string[] = [],
  numReplies = 1,
  numDelivered = 0,
) {
  const appended: NumberedEntry[] = [];
  const lost: string[] = [];
  const append = async (entries: readonly NumberedEntry[]): Promise<AppendResult> => {
    const result = await (answers.shift()?.(entries) ?? Promise.resolve('ok' as const));
    if (result === 'ok') appended.push(...entries);
    return result;
  };
  const model = fakeServedModel({ reply: '' });
  const texts = Array.from({ length: numReplies }, () => ({
    stream: model.createTextStream(stop),
    numDelivered,
  }));
  const flusher = new TokenFlusher({
    flushMs: 60_000,
    flushTokens: 4,
    texts,
    nextEntry: 2,
    append,
    onLost: (why) => lost.push(why),
  });
  return { flusher, appended, lost };
}

const textOf = (entries: readonly NumberedEntry[]): string =>
  entries.map((entry) => (entry.type === 'token' ? entry.data.text : '')).join('');
const idsOf = (entries: readonly NumberedEntry[]): number[] =>
  entries.flatMap((entry) => (entry.type === 'token' ? entry.data.ids : []));

describe('TokenFlusher', () => {
  it('appends the first token at once and gathers the rest', async () => {
    const { flusher, appended } = harness();
    flusher.push(0, codes('a'));
    flusher.push(0, codes('b'));
    flusher.push(0, codes('c'));
    await flusher.finish();
    expect(appended.map((entry) => [entry.n, entry.type === 'token' && entry.data.text])).toEqual([
      [2, 'a'],
      [3, 'bc'],
    ]);
  });

  it('keeps one append in flight and loses nothing that comes meanwhile', async () => {
    let release: (result: AppendResult) => void = () => undefined;
    const { flusher, appended } = harness([() => new Promise((resolve) => (release = resolve))]);
    flusher.push(0, codes('a'));
    flusher.push(0, codes('bcdefgh'));
    expect(appended).toEqual([]);
    release('ok');
    await flusher.finish();
    expect(textOf(appended)).toBe('abcdefgh');
    expect(idsOf(appended)).toEqual(codes('abcdefgh'));
    expect(appended.map((entry) => entry.n)).toEqual([2, 3]);
  });

  it('tells the caller to stop at a stop string and takes no id after it', async () => {
    const { flusher, appended } = harness([], ['!']);
    expect(flusher.push(0, codes('ok'))).toBe(false);
    expect(flusher.push(0, codes('!more'))).toBe(true);
    await flusher.finish();
    expect(textOf(appended)).toBe('ok');
    expect(idsOf(appended)).toEqual(codes('ok!'));
  });

  it.each(['fenced', 'missing'] as const)('gives up once the log is %s', async (answer) => {
    const { flusher, appended, lost } = harness([async () => answer]);
    flusher.push(0, codes('a'));
    flusher.push(0, codes('b'));
    await flusher.finish();
    expect(lost).toEqual([answer]);
    expect(appended).toEqual([]);
  });

  it('repeats an append that was not answered, with the same number and bytes', async () => {
    const tried: string[] = [];
    const fail = async (entries: readonly NumberedEntry[]): Promise<AppendResult> => {
      tried.push(JSON.stringify(entries));
      throw new AppError('STREAM_UNAVAILABLE');
    };
    const { flusher, appended, lost } = harness([fail]);
    flusher.push(0, codes('a'));
    await flusher.finish();
    expect(JSON.stringify(appended)).toBe(tried[0]);
    expect(lost).toEqual([]);
  });

  it('replaces NUL, which no text column holds', async () => {
    const { flusher, appended } = harness();
    flusher.push(0, [0]);
    await flusher.finish();
    expect(textOf(appended)).toBe('\uFFFD');
  });

  it('writes one entry for each reply in an append, and a reply’s end behind its last text', async () => {
    const { flusher, appended } = harness([], [], 3);
    flusher.push(0, codes('a'));
    flusher.push(1, codes('x'));
    flusher.push(0, codes('b'));
    flusher.end(0, 'stop');
    flusher.push(2, codes('k'));
    flusher.end(2, null);
    await flusher.finish();
    expect(appended).toEqual([
      { n: 2, type: 'token', data: { index: 0, text: 'a', ids: codes('a') } },
      { n: 3, type: 'token', data: { index: 0, text: 'b', ids: codes('b') } },
      { n: 4, type: 'finish', data: { index: 0, reason: 'stop' } },
      { n: 5, type: 'token', data: { index: 1, text: 'x', ids: codes('x') } },
      { n: 6, type: 'token', data: { index: 2, text: 'k', ids: codes('k') } },
    ]);
  });

  it('flushes when all replies together have gathered enough', async () => {
    const { flusher, appended } = harness([], [], 2);
    flusher.push(0, codes('a'));
    await new Promise((resolve) => setImmediate(resolve));
    flusher.push(0, codes('bc'));
    flusher.push(1, codes('xy'));
    await new Promise((resolve) => setImmediate(resolve));
    expect(textOf(appended)).toBe('abcxy');
    await flusher.finish();
  });

  it('does not say again what readers have', async () => {
    const { flusher, appended } = harness([], [], 1, 2);
    flusher.push(0, codes('abc'));
    await flusher.finish();
    expect(textOf(appended)).toBe('c');
    expect(idsOf(appended)).toEqual(codes('abc'));
  });
});
