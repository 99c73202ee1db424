import { createHash, randomUUID } from 'node:crypto';
import type { UserId } from '../../../contracts/ids.ts';
import { pseudonymFor } from '../../../postgres/pseudonym.ts';

const slotOf = (id: string): number =>
  createHash('sha256')
    .update(Buffer.from(id.replaceAll('-', ''), 'hex'))
    .digest()
    .readUInt8(0);

describe('pseudonymFor', () => {
  it('draws another name each time, in the slot of the user', () => {
    for (let times = 0; times < 20; times += 1) {
      const userId = randomUUID() as UserId;
      const drawn = [pseudonymFor(userId), pseudonymFor(userId)];
      expect(new Set([userId, ...drawn]).size).toBe(3);
      expect(drawn.map(slotOf)).toEqual([slotOf(userId), slotOf(userId)]);
    }
  });
});
