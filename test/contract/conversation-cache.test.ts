// One suite for the hot cache, on Valkey and on the in-memory twin: what passes on the twin must hold on the real part.
import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import type { ConversationCache } from '../../contracts/conversation-cache.ts';
import { newConversationId, newTurnId } from '../../contracts/ids.ts';
import type { ConversationId } from '../../contracts/ids.ts';
import type { ShownTurn } from '../../contracts/shown-turn.ts';
import { projectPath } from '../../process/paths.ts';
import { connectRedis } from '../../redis/connection.ts';
import { RedisConversationCache } from '../../redis/conversation-cache.ts';
import { MemoryConversationCache } from '../../redis/memory-conversation-cache.ts';
import { services } from '../helpers/services.ts';

const MAX_TURNS = 8;

interface Subject {
  readonly cache: ConversationCache;
  close(): void;
}

const subjects: Record<string, () => Subject> = {
  memory: () => ({ cache: new MemoryConversationCache(MAX_TURNS), close: () => undefined }),
  valkey: () => onRedis(services().redisUrl),
  'a valkey cluster': () => onRedis(services().redisClusterUrl),
};

function onRedis(url: string): Subject {
  const onError = (): void => undefined;
  const redis = connectRedis({ url, scriptsFolder: projectPath('redis', 'lua'), onError });
  const settings = { bytes: 16 * 1024 * 1024, turns: MAX_TURNS, answerMs: 5000 };
  return { cache: new RedisConversationCache(redis, settings), close: () => redis.disconnect() };
}

function turn(more: Partial<ShownTurn> = {}): ShownTurn {
  return {
    turnId: newTurnId(),
    role: 'user',
    content: 'hello',
    tokenCount: null,
    parentTurnId: null,
    replacesTurnId: null,
    model: null,
    servedModel: null,
    finishReason: null,
    errorCode: null,
    usage: null,
    moderationVerdict: null,
    sampleIndex: null,
    createdAt: new Date(),
    ...more,
  };
}

const turns = (count: number): ShownTurn[] => Array.from({ length: count }, () => turn());

describe.each(Object.entries(subjects))('the conversation cache on %s', (_name, make) => {
  let subject: Subject;
  let cache: ConversationCache;
  beforeAll(() => {
    subject = make();
    cache = subject.cache;
  });
  afterAll(() => subject.close());

  async function leased(id: ConversationId, version: number): Promise<string> {
    const read = await cache.get(id, version);
    if (read.kind === 'hit' || read.lease === null || read.lease === 'taken')
      throw new Error('there is no lease to have');
    return read.lease;
  }
  async function kept(version: number, all: readonly ShownTurn[]): Promise<ConversationId> {
    const id = newConversationId();
    const entry = { version, turns: all, isComplete: true };
    expect(await cache.put(id, await leased(id, version), entry)).toBe(true);
    return id;
  }

  it('gives back any turn exactly as it was put', async () => {
    const text = fc.string({ unit: 'binary' });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ content: text, tokenCount: fc.option(fc.nat()), errorCode: text }), {
          maxLength: MAX_TURNS,
        }),
        async (parts) => {
          const all = parts.map((each) => turn({ ...each, role: 'assistant' }));
          const id = await kept(3, all);
          expect(await cache.get(id, 3)).toEqual({
            kind: 'hit',
            entry: { version: 3, turns: all, isComplete: true },
          });
        },
      ),
      { numRuns: 20 },
    );
  });

  it('finds nothing at first, and lets one reader load while others wait', async () => {
    const id = newConversationId();
    const reads = await Promise.all([1, 2, 3].map(() => cache.get(id, 1)));
    const leases = reads.map((read) => (read.kind === 'miss' ? read.lease : 'hit'));
    expect(leases.filter((lease) => lease === 'taken')).toHaveLength(2);
    const lease = leases.find((each) => each !== 'taken') ?? '';
    await cache.put(id, lease ?? '', { version: 1, turns: turns(1), isComplete: true });
    expect(await cache.get(id, 1)).toMatchObject({ kind: 'hit' });
  });

  it('calls an entry stale that is older than asked for, and answers with one that is newer', async () => {
    const id = await kept(5, turns(2));
    expect(await cache.get(id, 6)).toMatchObject({ kind: 'stale' });
    expect(await cache.get(id, 4)).toMatchObject({ kind: 'hit', entry: { version: 5 } });
  });

  it('keeps a newer version from a slower writer, and takes nothing without the lease', async () => {
    const id = await kept(1, turns(1));
    const slow = await leased(id, 2);
    expect(await cache.append(id, 2, turns(1))).toBe(true);
    expect(await cache.append(id, 3, turns(1))).toBe(true);
    expect(await cache.put(id, slow, { version: 2, turns: [], isComplete: true })).toBe(false);
    const stranger = { version: 9, turns: [], isComplete: true };
    expect(await cache.put(id, randomUUID(), stranger)).toBe(false);
    expect(await cache.get(id, 3)).toMatchObject({ kind: 'hit', entry: { version: 3 } });
  });

  it('appends to the version before only, and shows a turn once that was there already', async () => {
    const [first, second] = [turn(), turn({ role: 'assistant' })];
    const id = await kept(1, [first]);
    expect(await cache.append(id, 3, [second])).toBe(false);
    expect(await cache.append(id, 1, [second])).toBe(false);
    expect(await cache.append(id, 2, [first, second])).toBe(true);
    const read = await cache.get(id, 2);
    expect(read).toMatchObject({ kind: 'hit', entry: { turns: [first, second] } });
    expect(await cache.append(newConversationId(), 1, [second])).toBe(false);
  });

  it('holds the newest turns only, and then no longer says that they are all', async () => {
    const all = turns(MAX_TURNS + 3);
    const id = await kept(1, all.slice(0, MAX_TURNS));
    await cache.append(id, 2, all.slice(MAX_TURNS));
    expect(await cache.get(id, 2)).toEqual({
      kind: 'hit',
      entry: { version: 2, turns: all.slice(3), isComplete: false },
    });
  });

  it('lets nobody bring back what was removed: not who has loaded it, not who loads it now', async () => {
    const id = await kept(1, turns(1));
    const loading = await leased(id, 2);
    await cache.remove(id);
    const entry = { version: 2, turns: turns(2), isComplete: true };
    expect(await cache.put(id, loading, entry)).toBe(false);
    expect(await cache.append(id, 2, turns(1))).toBe(false);
    expect(await cache.get(id, 2)).toEqual({ kind: 'miss', lease: null });
  });

  it('never answers with less than the version that was asked for, whatever came in whichever order', async () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('read' as const), version: fc.nat(6) }),
      fc.record({ do: fc.constant('put' as const), version: fc.nat(6), held: fc.nat(3) }),
      fc.record({ do: fc.constant('append' as const), version: fc.nat(6) }),
      fc.record({ do: fc.constant('remove' as const) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const id = newConversationId();
        const leases: string[] = [];
        let isRemoved = false;
        // The store's truth: version v has v turns, and nothing was ever in a version that has not its turns.
        const truth = turns(7);
        for (const each of steps) {
          if (each.do === 'remove') {
            await cache.remove(id);
            isRemoved = true;
          } else if (each.do === 'append') {
            await cache.append(id, each.version, truth.slice(each.version - 1, each.version));
          } else if (each.do === 'put') {
            const lease = leases[each.held] ?? 'none';
            const { version } = each;
            await cache.put(id, lease, {
              version,
              turns: truth.slice(0, version),
              isComplete: true,
            });
          } else {
            const read = await cache.get(id, each.version);
            if (read.kind === 'hit') {
              expect(isRemoved).toBe(false);
              expect(read.entry.version).toBeGreaterThanOrEqual(each.version);
              expect(read.entry.turns).toEqual(truth.slice(0, read.entry.version));
            } else if (read.lease !== null) leases.push(read.lease);
          }
        }
      }),
      { numRuns: 40 },
    );
  });
});
