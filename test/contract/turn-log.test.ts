// One suite for the turn log, on Valkey and on the in-memory twin: what passes on the twin must hold on the real part.
import fc from 'fast-check';
import { newConversationId, newTurnId } from '../../contracts/ids.ts';
import type { TurnId, UserId } from '../../contracts/ids.ts';
import type { NumberedEntry, OpenData, TurnEntry } from '../../contracts/turn-events.ts';
import { epochOf, SEAL_EPOCH } from '../../contracts/turn-log.ts';
import type { TurnControl, TurnLogReader, TurnLogWriter } from '../../contracts/turn-log.ts';
import { projectPath } from '../../process/paths.ts';
import { ChannelHub } from '../../redis/channel-hub.ts';
import { connectRedis, connectSubscriber } from '../../redis/connection.ts';
import { MemoryTurnLog } from '../../redis/memory-turn-log.ts';
import { RedisTurnLogReader } from '../../redis/turn-log-reader.ts';
import { RedisTurnLogWriter } from '../../redis/turn-log-writer.ts';
import { services } from '../helpers/services.ts';

interface Subject {
  readonly log: TurnLogWriter & TurnLogReader & TurnControl;
  close(): Promise<void>;
}

const subjects: Record<string, () => Promise<Subject>> = {
  memory: async () => ({ log: new MemoryTurnLog(), close: async () => undefined }),
  valkey: async () => onRedis(services().redisUrl),
  'a valkey cluster': async () => onRedis(services().redisClusterUrl),
};

function onRedis(url: string): Subject {
  const fail = (error: Error): void => {
    throw error;
  };
  const redis = connectRedis({ url, scriptsFolder: projectPath('redis', 'lua'), onError: fail });
  const hub = new ChannelHub(connectSubscriber(redis, fail));
  const [writer, reader] = [new RedisTurnLogWriter(redis), new RedisTurnLogReader(redis, hub)];
  const log = new Proxy(writer, {
    get: (target, name) => {
      const owner = name in target ? target : reader;
      return (Reflect.get(owner, name) as (...args: unknown[]) => unknown).bind(owner);
    },
  }) as unknown as Subject['log'];
  return {
    log,
    close: async () => {
      hub.close();
      redis.disconnect();
    },
  };
}

const OWNER = { userId: 'u' as UserId, conversationId: newConversationId() };
const EPOCH = epochOf(1, 1);
const END: TurnEntry = {
  type: 'end',
  data: {
    turn_id: 't',
    finish_reason: 'stop',
    usage: { prompt_tokens: 1, completion_tokens: 1, cached_tokens: 0, cost_usd: 0 },
  },
};

function openOf(turnId: TurnId): OpenData {
  return {
    turn_id: turnId,
    user_turn_id: 'u',
    conversation_id: OWNER.conversationId,
    model: 'm',
    served_model: 's',
    pool: 'mini',
  };
}

function token(n: number, text: string, ids: number[] = [n]): NumberedEntry {
  return { n, type: 'token', data: { text, ids } };
}

describe.each(Object.entries(subjects))('the turn log on %s', (_name, makeSubject) => {
  let subject: Subject;
  let log: Subject['log'];
  beforeAll(async () => {
    subject = await makeSubject();
    log = subject.log;
  });
  afterAll(() => subject.close());

  async function created(): Promise<TurnId> {
    const turnId = newTurnId();
    expect(await log.create(openOf(turnId), OWNER)).toBe(true);
    return turnId;
  }

  it('writes open as entry 1, once', async () => {
    const turnId = await created();
    expect(await log.create({ ...openOf(turnId), model: 'other' }, OWNER)).toBe(false);
    expect(await log.read(turnId, 0)).toEqual([{ n: 1, type: 'open', data: openOf(turnId) }]);
  });

  it('gives back any text and ids exactly as they were appended', async () => {
    const text = fc.string({ unit: 'binary' });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(text, fc.array(fc.nat(49_151))), { minLength: 1, maxLength: 8 }),
        async (parts) => {
          const turnId = await created();
          const entries = parts.map(([each, ids], index) => token(index + 2, each, ids));
          expect(await log.append(turnId, EPOCH, entries)).toBe('ok');
          expect(await log.read(turnId, 1)).toEqual(entries);
          await log.remove(turnId);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('reads exactly the entries after a number', async () => {
    const turnId = await created();
    await log.append(turnId, EPOCH, [token(2, 'a'), token(3, 'b'), token(4, 'c')]);
    expect(await log.read(turnId, 2)).toEqual([token(3, 'b'), token(4, 'c')]);
    expect(await log.read(turnId, 1, 2)).toEqual([token(2, 'a'), token(3, 'b')]);
    expect(await log.read(turnId, 3, 2)).toEqual([token(4, 'c')]);
    expect(await log.read(turnId, 4)).toEqual([]);
    expect(await log.read(newTurnId(), 0)).toBe('missing');
  });

  it('takes the same append twice for one, and refuses another one under the same number', async () => {
    const turnId = await created();
    expect(await log.append(turnId, EPOCH, [token(2, 'a')])).toBe('ok');
    expect(await log.append(turnId, EPOCH, [token(2, 'a')])).toBe('ok');
    expect(await log.append(turnId, EPOCH, [token(2, 'b')])).toBe('fenced');
    expect(await log.read(turnId, 1)).toEqual([token(2, 'a')]);
  });

  it('refuses a lower epoch once a higher one has claimed, and lets nothing of it in', async () => {
    const turnId = await created();
    expect(await log.claim(turnId, epochOf(1, 1))).toMatchObject({
      isCancelled: false,
      isEnded: false,
    });
    await log.append(turnId, epochOf(1, 1), [token(2, 'a')]);
    expect(await log.claim(turnId, epochOf(1, 2))).toMatchObject({ entries: [{ n: 1 }, { n: 2 }] });
    expect(await log.append(turnId, epochOf(1, 1), [token(3, 'zombie')])).toBe('fenced');
    expect(await log.claim(turnId, epochOf(1, 1))).toBe('fenced');
    expect(await log.append(turnId, epochOf(1, 2), [token(3, 'b')])).toBe('ok');
    expect(await log.claim(turnId, epochOf(2, 1))).toMatchObject({
      entries: [{ n: 1 }, { n: 2 }, token(3, 'b')],
    });
  });

  it('accepts no token once it is sealed, and ends once', async () => {
    const turnId = await created();
    await log.seal(turnId, 1);
    expect(await log.append(turnId, EPOCH, [token(2, 'late')])).toBe('fenced');
    expect(await log.end(turnId, [{ type: 'error', data: { code: 'c', message: 'm' } }, END])).toBe(
      'ok',
    );
    expect(await log.end(turnId, [END])).toBe('ok');
    expect(await log.append(turnId, SEAL_EPOCH, [token(4, 'later')])).toBe('fenced');
    expect(await log.read(turnId, 1)).toMatchObject([
      { n: 2, type: 'error' },
      { n: 3, type: 'end' },
    ]);
    expect(await log.seal(turnId, 1)).toMatchObject({ isEnded: true });
  });

  it('does not seal a log that lacks an acknowledged entry: a later generation can still complete it', async () => {
    const turnId = await created();
    expect(await log.seal(newTurnId(), 0)).toBe('missing');
    await log.append(turnId, EPOCH, [token(2, 'a')]);
    expect(await log.seal(turnId, 3)).toBe('short');
    expect(await log.append(turnId, EPOCH, [token(3, 'b')])).toBe('ok');
    expect(await log.seal(turnId, 3)).toMatchObject({ entries: [{ n: 1 }, { n: 2 }, { n: 3 }] });
    expect(await log.append(turnId, epochOf(2, 1), [token(4, 'late')])).toBe('fenced');
  });

  it('tells a writer that its log is missing, and takes it back from memory', async () => {
    const turnId = await created();
    const entries: NumberedEntry[] = [
      { n: 1, type: 'open', data: openOf(turnId) },
      token(2, 'a'),
      token(3, 'b'),
    ];
    await log.remove(turnId);
    expect(await log.append(turnId, EPOCH, [token(3, 'b')])).toBe('missing');
    expect(await log.claim(turnId, EPOCH)).toBe('missing');
    expect(await log.end(turnId, [END])).toBe('missing');
    expect(await log.restore(OWNER, turnId, EPOCH, entries)).toBe('ok');
    expect(await log.restore(OWNER, turnId, EPOCH, entries)).toBe('ok');
    expect(await log.read(turnId, 0)).toEqual(entries);
    expect(await log.restore(OWNER, turnId, EPOCH - 1, entries)).toBe('fenced');
    expect(await log.append(turnId, EPOCH, [token(4, 'c')])).toBe('ok');
  });

  it('calls an append that would leave a gap missing, and fills the gap by a restore', async () => {
    const turnId = await created();
    expect(await log.append(turnId, EPOCH, [token(3, 'b')])).toBe('missing');
    await log.restore(OWNER, turnId, EPOCH, [
      { n: 1, type: 'open', data: openOf(turnId) },
      token(2, 'a'),
      token(3, 'b'),
    ]);
    expect(await log.read(turnId, 1)).toEqual([token(2, 'a'), token(3, 'b')]);
  });

  it('says of a log that a later dispatch has begun anew that it is remade, until it has ended', async () => {
    const turnId = newTurnId();
    await log.create(openOf(turnId), OWNER);
    expect(await log.isRemade(turnId)).toBe(false);
    await log.append(turnId, EPOCH, [token(2, 'a'), token(3, 'b')]);
    expect(await log.isRemade(turnId)).toBe(false);
    await log.remove(turnId);
    expect(await log.isRemade(turnId)).toBe(false);
    const open: NumberedEntry = { n: 1, type: 'open', data: openOf(turnId) };
    await log.restore(OWNER, turnId, epochOf(2, 1), [open]);
    expect(await log.isRemade(turnId)).toBe(true);
    await log.append(turnId, epochOf(2, 1), [token(2, 'ab')]);
    await log.end(turnId, [END]);
    expect(await log.isRemade(turnId)).toBe(false);
  });

  it('pushes every entry to every subscriber in order, and none after it closed', async () => {
    const turnId = newTurnId();
    const seen: number[][] = [[], []];
    let isThere: () => void = () => undefined;
    const three = new Promise<void>((resolve) => {
      isThere = resolve;
    });
    const [first, second] = await Promise.all(
      seen.map((list) =>
        log.subscribe(turnId, ({ n }) => {
          list.push(n);
          if (seen.every((each) => each.length === 3)) isThere();
        }),
      ),
    );
    expect(await log.countReaders(turnId)).toBe(1);
    await log.create(openOf(turnId), OWNER);
    await log.append(turnId, EPOCH, [token(2, 'a'), token(3, 'b')]);
    await three;
    expect(seen).toEqual([
      [1, 2, 3],
      [1, 2, 3],
    ]);
    await Promise.all([first?.close(), second?.close()]);
    expect(await log.countReaders(turnId)).toBe(0);
    await log.append(turnId, EPOCH, [token(4, 'c')]);
    expect(seen).toEqual([
      [1, 2, 3],
      [1, 2, 3],
    ]);
  });

  it('tells readers of the end of a log that is missing, under the number 0', async () => {
    const turnId = newTurnId();
    const subscription: { close(): Promise<void> }[] = [];
    const heard = new Promise<NumberedEntry>((resolve) => {
      void log.subscribe(turnId, resolve).then(async (opened) => {
        subscription.push(opened);
        expect(await log.end(turnId, [END])).toBe('missing');
      });
    });
    expect(await heard).toEqual({ n: 0, ...END });
    await subscription[0]?.close();
  });

  it('tells the worker of a cancel at once, and a later worker at its claim', async () => {
    const turnId = await created();
    let hear: () => void = () => undefined;
    const heard = new Promise<void>((resolve) => {
      hear = resolve;
    });
    const control = await log.onCancel(turnId, hear);
    expect(await log.isCancelled(turnId)).toBe(false);
    expect(await log.cancel(turnId)).toBe(true);
    expect(await log.isCancelled(turnId)).toBe(true);
    await heard;
    await control.close();
    expect(await log.claim(turnId, EPOCH)).toMatchObject({ isCancelled: true });
    await log.end(turnId, [END]);
    expect(await log.cancel(turnId)).toBe(false);
    expect(await log.cancel(newTurnId())).toBe(false);
  });
});
