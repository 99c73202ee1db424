import fc from 'fast-check';
import { projectPath } from '../../../process/paths.ts';
import { connectRedis } from '../../../redis/connection.ts';
import { hashSlot } from '../../../redis/hash-slot.ts';
import { services } from '../../helpers/services.ts';

describe('hashSlot', () => {
  it('is what the server says of any key', async () => {
    const redis = connectRedis({
      url: services().redisClusterUrl,
      scriptsFolder: projectPath('redis', 'lua'),
      onError: () => undefined,
    });
    const piece = fc.oneof(fc.constantFrom('{', '}', '{}', 'turn:'), fc.string({ unit: 'binary' }));
    try {
      await fc.assert(
        fc.asyncProperty(fc.array(piece, { minLength: 1, maxLength: 5 }), async (pieces) => {
          const key = pieces.join('');
          expect(hashSlot(key)).toBe(Number(await redis.call('CLUSTER', 'KEYSLOT', key)));
        }),
        { numRuns: 200 },
      );
    } finally {
      redis.disconnect();
    }
  });
});
