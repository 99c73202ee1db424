// A feed whose pushes get lost and whose reader has room only now and then still gives every entry's text once, in order.
import fc from 'fast-check';
import { mostEntries, standIns } from '../../../activities/recalled-log.ts';
import { codeOf } from '../../../contracts/errors.ts';
import { newConversationId, newTurnId } from '../../../contracts/ids.ts';
import type { TurnId, UserId } from '../../../contracts/ids.ts';
import type { NumberedEntry } from '../../../contracts/turn-events.ts';
import { epochOf } from '../../../contracts/turn-log.ts';
import type { TurnSubscription } from '../../../contracts/turn-log.ts';
import { Turnstile } from '../../../gateway/turnstile.ts';
import { TurnFeed } from '../../../gateway/turn-feed.ts';
import type { FeedDeps } from '../../../gateway/turn-feed.ts';
import { MemoryTurnLog } from '../../../redis/memory-turn-log.ts';
import { textOf } from '../../helpers/entry-text.ts';

const USAGE = { prompt_tokens: 1, completion_tokens: 1, cached_tokens: 0, cost_usd: 0 };

const openOf = (turnId: TurnId, conversationId: string) => ({
  ...{ turn_id: turnId, user_turn_id: 'u', conversation_id: conversationId },
  ...{ model: 'm', served_model: 's', pool: 'p' },
});

const endOf = (turnId: TurnId) => ({
  ...{ turn_id: turnId, finish_reason: 'stop' as const, usage: USAGE },
});

/** Loses the pushes that `isLost` names. */
class LossyLog extends MemoryTurnLog {
  isLost: () => boolean = () => false;

  override subscribe(
    turnId: TurnId,
    onEntry: (entry: NumberedEntry) => void,
  ): Promise<TurnSubscription> {
    return super.subscribe(turnId, (entry) => {
      if (entry.type === 'end' || !this.isLost()) onEntry(entry);
    });
  }
}

type Happening = 'append' | 'lose' | 'fill' | 'empty' | 'wait';

const streams = { replays: new Turnstile(2) };

const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('TurnFeed', () => {
  it('gives all text once and in order, whatever is lost and whenever its reader has no room', async () => {
    const happening = fc.constantFrom<Happening>(
      'append',
      'append',
      'lose',
      'fill',
      'empty',
      'wait',
    );
    await fc.assert(
      fc.asyncProperty(fc.array(happening, { maxLength: 60 }), fc.nat(4), async (all, before) => {
        const log = new LossyLog();
        const turnId = newTurnId();
        const conversationId = newConversationId();
        await log.create(openOf(turnId, conversationId), { userId: 'u' as UserId, conversationId });
        let n = 1;
        const append = async (): Promise<void> => {
          n += 1;
          await log.append(turnId, 1001, [{ n, type: 'token', data: { text: `${n},`, ids: [n] } }]);
        };
        while (n <= before) await append();

        let [hasRoom, toLose] = [true, 0];
        const seen: NumberedEntry[] = [];
        log.isLost = () => (toLose > 0 ? (toLose--, true) : false);
        const deps = { turnLog: log, streams } as unknown as FeedDeps;
        const feed = new TurnFeed(deps, conversationId, turnId, 0, {
          onEntries: (entries) => {
            seen.push(...entries);
            return hasRoom;
          },
          onLost: () => fail(),
        });
        await feed.start();
        for (const each of all) {
          if (each === 'append') await append();
          if (each === 'lose') toLose += 1;
          if (each === 'fill') hasRoom = false;
          if (each === 'empty') {
            hasRoom = true;
            feed.resume();
          }
          if (each === 'wait') await tick();
        }
        await log.end(turnId, [{ type: 'end', data: endOf(turnId) }]);
        hasRoom = true;
        for (let tries = 0; !feed.hasEnded && tries < 100; tries += 1) {
          feed.resume();
          await tick();
        }
        await feed.close();

        expect(feed.hasEnded).toBe(true);
        expect(seen.map((entry) => (entry.type === 'token' ? entry.data.text : '')).join('')).toBe(
          Array.from({ length: n - 1 }, (_, index) => `${index + 2},`).join(''),
        );
        expect(seen.every((entry, index) => entry.n > (seen[index - 1]?.n ?? 0))).toBe(true);
        expect(seen.at(-1)).toMatchObject({ n: n + 1, type: 'end' });
      }),
      { numRuns: 300 },
    );
  });
});

function fail(): void {
  throw new Error('the feed says that its turn is lost');
}

/** Some text as a worker appends it: its entries' numbers follow `before`, their boundaries are its own. */
function piecesOf(text: string, before: number, sizes: readonly number[]): NumberedEntry[] {
  const entries: NumberedEntry[] = [];
  for (let at = 0; at < text.length;) {
    const size = sizes[entries.length % sizes.length] ?? 1;
    const data = { text: text.slice(at, at + size), ids: [at], at };
    entries.push({ n: before + entries.length + 1, type: 'token', data });
    at += size;
  }
  return entries;
}

describe('a log that Redis lost with its worker, and that another one makes again with other boundaries', () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 5 });
  const scene = fc.record({
    text: fc.string({ minLength: 1, maxLength: 40 }),
    ...{ before: sizes, after: sizes, numBefore: fc.nat(40), isWhole: fc.boolean() },
    ...{ fillAt: fc.nat(80), resumeAt: fc.option(fc.nat(41), { nil: null }) },
  });

  it('goes on at the reader’s place in the text, or sends away who cannot tell where that is', async () => {
    await fc.assert(
      fc.asyncProperty(scene, async ({ text, before, after, numBefore, isWhole, ...reader }) => {
        const log = new MemoryTurnLog();
        const [turnId, conversationId] = [newTurnId(), newConversationId()];
        const owner = { userId: 'u' as UserId, conversationId };
        const open: NumberedEntry = { n: 1, type: 'open', data: openOf(turnId, conversationId) };
        await log.restore(owner, turnId, epochOf(1, 1), [open]);
        const all = piecesOf(text, 1, before);
        const old = isWhole ? all : all.slice(0, numBefore);
        let [hasRoom, numPushes, isLost] = [true, 0, false];
        const seen: NumberedEntry[] = [];
        const deps = {
          db: { query: async () => ({ rows: [] }) },
          ...{ turnLog: log, streams },
        } as unknown as FeedDeps;
        const watch = (from: number) =>
          new TurnFeed(deps, conversationId, turnId, from, {
            onEntries: (entries) => {
              seen.push(...entries);
              numPushes += 1;
              if (numPushes === reader.fillAt) hasRoom = false;
              return hasRoom;
            },
            onLost: () => void (isLost = true),
          });
        let feed = watch(0);
        await feed.start();
        for (const entry of old) await log.append(turnId, epochOf(1, 1), [entry]);
        await tick();
        const hadAll = textOf(seen) === text;

        await log.remove(turnId);
        const has = isWhole ? all.length + 1 : undefined;
        const numLost = mostEntries(has ?? 1, isWhole ? 1 : 2, text.length, 1);
        const again = [open, ...standIns(1, numLost, isWhole)];
        await log.restore(owner, turnId, epochOf(2, 1), again);
        let isRefused = false;
        if (reader.resumeAt !== null && (seen.at(-1)?.n ?? 0) > 1) {
          await feed.close();
          feed = watch(seen.at(-1)?.n ?? 0);
          isRefused = await feed.start().then(
            () => false,
            (error: unknown) => codeOf(error) === 'INVALID_LAST_EVENT_ID',
          );
          expect(isRefused).toBe(!(isWhole && hadAll));
        }
        const pieces = piecesOf(text, numLost, after);
        for (const entry of pieces) await log.append(turnId, epochOf(2, 1), [entry]);
        await log.end(turnId, [{ type: 'end', data: endOf(turnId) }]);
        hasRoom = true;
        for (let tries = 0; !isRefused && !feed.hasEnded && tries < 100; tries += 1) {
          feed.resume();
          await tick();
        }
        await feed.close();

        expect(isLost).toBe(false);
        expect(isRefused || feed.hasEnded).toBe(true);
        if (!isRefused) expect(textOf(seen)).toBe(text);
        expect(seen.every(({ n }, at) => n > (seen[at - 1]?.n ?? 0))).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});

describe('a reader whose number the log does not have', () => {
  const start = async (epoch: number, after: number): Promise<void> => {
    const log = new MemoryTurnLog();
    const [turnId, conversationId] = [newTurnId(), newConversationId()];
    const owner = { userId: 'u' as UserId, conversationId };
    const open = openOf(turnId, conversationId);
    await log.restore(owner, turnId, epoch, [{ n: 1, type: 'open', data: open }]);
    const db = { query: async () => ({ rows: [] }) }; // Nothing is stored yet.
    const deps = { db, turnLog: log, streams } as unknown as FeedDeps;
    const handlers = { onEntries: () => true, onLost: () => undefined };
    return new TurnFeed(deps, conversationId, turnId, after, handlers).start();
  };

  it('made it up, in the log of a first dispatch', async () => {
    await expect(start(epochOf(1, 2), 58)).rejects.toMatchObject({ code: 'INVALID_LAST_EVENT_ID' });
  });

  it('should come again while a lost log is made again: it will have it', async () => {
    await expect(start(epochOf(2, 1), 58)).rejects.toMatchObject({ code: 'STREAM_UNAVAILABLE' });
  });
});
