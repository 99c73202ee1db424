import fc from 'fast-check';
import type { PreparedPrompt } from '../../../activities/prompt-source.ts';
import { deliveredReplies } from '../../../activities/delivered-replies.ts';
import { recallLog } from '../../../activities/recalled-log.ts';
import { runReplies } from '../../../activities/reply-run.ts';
import type { RepliesEnd } from '../../../activities/reply-run.ts';
import type { NumberedEntry } from '../../../contracts/turn-events.ts';
import { TokenTextStream } from '../../../inference/tokenizer/text-stream.ts';
import { fakeServedModel } from '../../helpers/fake-served-model.ts';

const STOP = '<end>';
const SEED = 30;
const prompt = {
  tokenIds: [1, 2, 3],
  params: { stop: [STOP] },
  sampling: { temperature: 1, topP: 1, topK: 0, seed: SEED },
  maxTokens: 1000,
  cacheScope: { tenant: 'one', numSharedTokens: 0 },
} as unknown as PreparedPrompt;

/** One token a byte, so that characters and stop strings are cut anywhere. */
const bytes = (text: string): string => Buffer.from(text).toString('latin1');

interface Attempt {
  /** After so many tokens of all replies … */
  readonly numTokens: number;
  /** … it hands over, is killed, or is cancelled. */
  readonly how: 'hand-over' | 'kill' | 'cancel';
}

/** One attempt on what the ones before it left in the log. */
async function run(
  log: NumberedEntry[],
  texts: readonly string[],
  { numTokens, how }: Attempt,
): Promise<RepliesEnd> {
  const stop = new AbortController();
  let left = numTokens;
  const model = fakeServedModel({
    reply: (seed) => bytes(texts[seed - SEED] ?? ''),
    beforeToken: async () => {
      await new Promise((resolve) => setImmediate(resolve));
      if (left === 0) stop.abort();
      left -= 1;
    },
  });
  const recalled = recallLog(log, texts.length);
  const end = await runReplies({
    model: {
      ...model,
      createTextStream: (stops) => new TokenTextStream((id) => Uint8Array.of(id), stops),
    },
    prompt,
    log: recalled,
    seqId: 'turn',
    priority: 1,
    flush: { flushMs: 0, flushTokens: 3, laterFlushTokens: 3 },
    stop: stop.signal,
    isHandedOver: () => how !== 'cancel',
    append: async (entries) => {
      if (how === 'kill' && stop.signal.aborted) return 'fenced';
      recalled.entries.push(...entries);
      log.push(...entries);
      return 'ok';
    },
    onLost: () => stop.abort(),
    onFirstToken: () => undefined,
  });
  expect(model.engine.stats().running).toBe(0);
  return end;
}

const open = (): NumberedEntry[] => [{ n: 1, type: 'open', data: {} } as NumberedEntry];
const cut = (text: string): string => (text.split(STOP)[0] ?? '').replaceAll('\0', '\uFFFD');
const UNCUT: Attempt = { numTokens: Infinity, how: 'cancel' };

const piece = fc.oneof(
  fc.constantFrom('a', 'é', '👍', '<', '<en', STOP, '\0', 'long word '),
  fc.string({ unit: 'grapheme', maxLength: 3 }),
);
const text = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join('').toWellFormed());
const attempt = fc.record({
  numTokens: fc.nat(40),
  how: fc.constantFrom('hand-over' as const, 'kill' as const),
});

describe('runReplies', () => {
  it('delivers of each reply what an uncut run delivers, wherever and however attempts end', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(text, { minLength: 1, maxLength: 4 }),
        fc.array(attempt, { maxLength: 3 }),
        async (texts, attempts) => {
          const log = open();
          for (const each of [...attempts, UNCUT]) await run(log, texts, each);
          expect(log.map(({ n }) => n)).toEqual(log.map((_, at) => at + 1));
          const delivered = deliveredReplies(log, texts.length);
          expect(delivered.map((each) => each.text)).toEqual(texts.map(cut));
          if (texts.length > 1)
            expect(delivered.map(({ finishReason }) => finishReason)).toEqual(
              texts.map(() => 'stop'),
            );
        },
      ),
      { numRuns: 150 },
    );
  });

  it('delivers of a cancelled turn what of each reply was sampled, held-back text included', async () => {
    const log = open();
    const texts = ['ab<en', '👍', 'cdef'];
    const end = await run(log, texts, { numTokens: 6, how: 'cancel' });
    expect(end.finish.reason).toBe('abort');
    // Two tokens of each: half of the character stands for itself.
    expect(deliveredReplies(log, 3)).toMatchObject([
      { text: 'ab', finishReason: null },
      { text: '\uFFFD', finishReason: null },
      { text: 'cd', finishReason: null },
    ]);
  });

  it('asks the engine for nothing when every reply is complete', async () => {
    const log = open();
    const texts = ['one', 'two'];
    await run(log, texts, UNCUT);
    const numEntries = log.length;
    const end = await run(log, texts, UNCUT);
    expect(end.finish).toEqual({ reason: 'stop' });
    expect(log).toHaveLength(numEntries);
  });
});
