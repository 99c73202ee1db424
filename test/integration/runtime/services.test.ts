import { Client } from 'pg';
import { Connection } from '@temporalio/client';
import { Redis } from 'ioredis';
import { createTestDatabase } from '../../helpers/database.ts';
import { services } from '../../helpers/services.ts';

describe('embedded services', () => {
  it('give each test file a database with our schema', async () => {
    const database = await createTestDatabase();
    const client = new Client({ connectionString: database.url });
    await client.connect();
    try {
      const { rows } = await client.query(
        `select version(), current_setting('fsync') as fsync, current_setting('synchronous_commit') as sc, to_regclass('turns') as turns`,
      );
      expect(rows[0]).toMatchObject({ fsync: 'on', sc: 'on', turns: 'turns' });
    } finally {
      await client.end();
      await database.drop();
    }
  });

  it('keep Valkey in memory and let it refuse instead of forgetting', async () => {
    const redis = new Redis(services().redisUrl);
    try {
      expect(await redis.config('GET', 'maxmemory-policy')).toEqual([
        'maxmemory-policy',
        'noeviction',
      ]);
      expect(await redis.config('GET', 'save')).toEqual(['save', '']);
    } finally {
      redis.disconnect();
    }
  });

  it('run Temporal with pushed cancels and our search attributes', async () => {
    const connection = await Connection.connect({ address: services().temporalAddress });
    try {
      const { namespaceInfo } = await connection.workflowService.describeNamespace({
        namespace: 'default',
      });
      expect(namespaceInfo?.capabilities?.workerCommands).toBe(true);
      const { customAttributes } = await connection.operatorService.listSearchAttributes({
        namespace: 'default',
      });
      expect(customAttributes).toMatchObject({ Tier: 2, Pool: 2, Model: 2, ConversationId: 2 });
    } finally {
      await connection.close();
    }
  });
});
