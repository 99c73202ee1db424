import { newTurnId } from '../../../contracts/ids.ts';
import {
  turnControlChannel,
  turnLogKey,
  turnMetaKey,
  turnPushChannel,
} from '../../../contracts/redis-keys.ts';
import { hashSlot } from '../../../redis/hash-slot.ts';

describe('hashSlot', () => {
  it('is the specification’s CRC-16 of the key, modulo 16,384', () => {
    expect(hashSlot('123456789')).toBe(0x31c3);
    expect(hashSlot('')).toBe(0);
  });

  it('counts the first hash tag alone, unless it is empty', () => {
    expect(hashSlot('{user1000}.following')).toBe(hashSlot('{user1000}.followers'));
    expect(hashSlot('foo{bar}{zap}')).toBe(hashSlot('bar'));
    expect(hashSlot('foo{{bar}}zap')).toBe(hashSlot('{bar'));
    expect(hashSlot('foo{}{bar}')).not.toBe(hashSlot('bar'));
  });

  it('is one for all keys and channels of a turn', () => {
    const turnId = newTurnId();
    const names = [turnLogKey, turnMetaKey, turnPushChannel, turnControlChannel];
    expect(new Set(names.map((name) => hashSlot(name(turnId)))).size).toBe(1);
  });
});
