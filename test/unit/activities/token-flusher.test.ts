import fc from 'fast-check';
import { TokenFlusher } from '../../../activities/token-flusher.ts';
import type { FlushSettings } from '../../../activities/token-flusher.ts';
import type { TextStream } from '../../../contracts/engine.ts';
import { AppError } from '../../../contracts/errors.ts';
import type { NumberedEntry } from '../../../contracts/turn-events.ts';
import type { AppendResult } from '../../../contracts/turn-log.ts';
import { TokenTextStream } from '../../../inference/tokenizer/text-stream.ts';
import { textOf } from '../../helpers/entry-text.ts';
import { fakeServedModel } from '../../helpers/fake-served-model.ts';

const codes = (text: string): number[] => [...text].map((each) => each.codePointAt(0) ?? 0);

/** Each id is one byte. */
const bytesOf = (id: number): Uint8Array => Uint8Array.of(id);

/** A log whose appends are answered by hand, or at once with `ok`. */
function harness(
  answers: ((entries: readonly NumberedEntry[]) => Promise<AppendResult>)[] = [],
  stop: string[] = [],
  numReplies = 1,
  numDelivered = 0,
  stream: () => TextStream = () => fakeServedModel({ reply: '' }).createTextStream(stop),
  flush: Partial<FlushSettings> = {},
) {
  const appended: NumberedEntry[] = [];
  const lost: string[] = [];
  const append = async (entries: readonly NumberedEntry[]): Promise<AppendResult> => {
    const result = await (answers.shift()?.(entries) ?? Promise.resolve('ok' as const));
    if (result === 'ok') appended.push(...entries);
    return result;
  };
  const texts = Array.from({ length: numReplies }, () => ({
    stream: stream(),
    textLength: numDelivered,
    numDelivered,
  }));
  const flusher = new TokenFlusher({
    flushMs: 60_000,
    flushTokens: 4,
    laterFlushTokens: 4,
    ...flush,
    texts,
    nextEntry: 2,
    append,
    onLost: (why) => lost.push(why),
  });
  return { flusher, appended, lost };
}

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

  it('appends every flushMs, by flushTokens at first and by laterFlushTokens behind a hundred', async () => {
    jest.useFakeTimers();
    try {
      const settings = { flushMs: 40, flushTokens: 4, laterFlushTokens: 64 };
      const { flusher, appended } = harness([], [], 1, 0, undefined, settings);
      const numAppended = async (afterMs: number): Promise<number> => {
        await jest.advanceTimersByTimeAsync(afterMs);
        return appended.length;
      };
      flusher.push(0, codes('a'));
      expect(await numAppended(0)).toBe(1);
      flusher.push(0, codes('bbb'));
      expect(await numAppended(39)).toBe(1);
      expect(await numAppended(1)).toBe(2);
      flusher.push(0, codes('c'.repeat(95)));
      expect(await numAppended(0)).toBe(3);
      flusher.push(0, codes('d'.repeat(63)));
      expect(await numAppended(39)).toBe(3);
      expect(await numAppended(1)).toBe(4);
      flusher.push(0, codes('e'.repeat(64)));
      expect(await numAppended(0)).toBe(5);
    } finally {
      jest.useRealTimers();
    }
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
      { n: 2, type: 'token', data: { index: 0, text: 'a', ids: codes('a'), at: 0 } },
      { n: 3, type: 'token', data: { index: 0, text: 'b', ids: codes('b'), at: 1 } },
      { n: 4, type: 'finish', data: { index: 0, reason: 'stop' } },
      { n: 5, type: 'token', data: { index: 1, text: 'x', ids: codes('x'), at: 0 } },
      { n: 6, type: 'token', data: { index: 2, text: 'k', ids: codes('k'), at: 0 } },
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

  const bytewise = (text: TokenTextStream, numDelivered = 0) =>
    harness([], [], 1, numDelivered, () => text);

  it('keeps what is held back for the next attempt, and gives it out at the end of the reply', async () => {
    const handedOver = bytewise(new TokenTextStream(bytesOf, ['.END']));
    handedOver.flusher.push(0, codes('a.'));
    await handedOver.flusher.finish();
    expect([textOf(handedOver.appended), idsOf(handedOver.appended)]).toEqual(['a', codes('a.')]);
    const ended = bytewise(new TokenTextStream(bytesOf, ['.END']));
    ended.flusher.push(0, codes('a.'));
    ended.flusher.end(0, null);
    await ended.flusher.finish();
    expect(textOf(ended.appended)).toBe('a.');
  });

  it('says nothing again of what an earlier attempt gave out at the end of the reply', async () => {
    const text = new TokenTextStream(bytesOf, ['.END']);
    for (const id of codes('a.')) text.push(id);
    const { flusher, appended } = bytewise(text, 1);
    flusher.end(0, null);
    await flusher.finish();
    expect(appended).toEqual([]);
  });

  it('goes on token-exactly wherever it is cut, whatever is held back there', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom('a', '.', '.E', '.EN', '\u{1F600}', 'é'), { maxLength: 12 }),
        fc.nat(30),
        async (pieces, at) => {
          const ids = [...Buffer.from(pieces.join(''))];
          const cut = Math.min(at, ids.length);
          const whole = bytewise(new TokenTextStream(bytesOf, ['.EN']));
          whole.flusher.push(0, ids);
          whole.flusher.end(0, null);
          await whole.flusher.finish();
          const first = bytewise(new TokenTextStream(bytesOf, ['.EN']));
          first.flusher.push(0, ids.slice(0, cut));
          await first.flusher.finish();
          const emitted = idsOf(first.appended);
          const text = new TokenTextStream(bytesOf, ['.EN']);
          const numCertain = emitted.reduce((sum, id) => sum + text.push(id).length, 0);
          const second = bytewise(text, textOf(first.appended).length - numCertain);
          second.flusher.push(0, ids.slice(emitted.length));
          second.flusher.end(0, null);
          await second.flusher.finish();
          const all = [...first.appended, ...second.appended];
          expect([textOf(all), idsOf(all)]).toEqual([
            textOf(whole.appended),
            idsOf(whole.appended),
          ]);
        },
      ),
    );
  });
});
