// A feed whose pushes get lost and whose reader has room only now and then still gives every entry's text once, in order.
import fc from 'fast-check';
import { newConversationId, newTurnId } from '../../../contracts/ids.ts';
import type { TurnId, UserId } from '../../../contracts/ids.ts';
import type { NumberedEntry } from '../../../contracts/turn-events.ts';
import { epochOf } from '../../../contracts/turn-log.ts';
import type { TurnSubscription } from '../../../contracts/turn-log.ts';
import { Turnstile } from '../../../gateway/turnstile.ts';
import { TurnFeed } from '../../../gateway/turn-feed.ts';
import type { FeedDeps } from '../../../gateway/turn-feed.ts';
import { MemoryTurnLog } from '../../../redis/memory-turn-log.ts';

const USAGE = { prompt_tokens: 1, completion_tokens: 1, cached_tokens: 0, cost_usd: 0 };

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
        await log.create(
          {
            turn_id: turnId,
            user_turn_id: 'u',
            conversation_id: conversationId,
            model: 'm',
            served_model: 's',
            pool: 'p',
          },
          { userId: 'u' as UserId, conversationId },
        );
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
        await log.end(turnId, [
          { type: 'end', data: { turn_id: turnId, finish_reason: 'stop', usage: USAGE } },
        ]);
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

describe('a reader whose number the log does not have', () => {
  const start = async (epoch: number, after: number): Promise<void> => {
    const log = new MemoryTurnLog();
    const [turnId, conversationId] = [newTurnId(), newConversationId()];
    const owner = { userId: 'u' as UserId, conversationId };
    const open = {
      ...{ turn_id: turnId, user_turn_id: 'u', conversation_id: conversationId },
      ...{ model: 'm', served_model: 's', pool: 'p' },
    };
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
