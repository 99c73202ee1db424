import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { newConversationId, newTurnId } from '../../../contracts/ids.ts';
import { epochOf } from '../../../contracts/turn-log.ts';
import { projectPath } from '../../../process/paths.ts';
import { ChannelHub } from '../../../redis/channel-hub.ts';
import { connectRedis, connectSubscriber } from '../../../redis/connection.ts';
import { RedisTurnLogReader } from '../../../redis/turn-log-reader.ts';
import { RedisTurnLogWriter } from '../../../redis/turn-log-writer.ts';
import { redisFault } from '../../../runtime/probes.ts';
import { PortBook } from '../../../runtime/ports.ts';
import { SILENT } from '../../../runtime/progress.ts';
import { readProcesses, runFiles } from '../../../runtime/run-files.ts';
import { readSettings } from '../../../runtime/settings.ts';
import { SupervisedProcess } from '../../../runtime/supervised-process.ts';
import { Supervisor } from '../../../runtime/supervisor.ts';
import { createTestHome, removeTestHome, ROOT } from '../../helpers/test-home.ts';
import { waitFor } from '../../helpers/wait-for.ts';
import type { UserId } from '../../../contracts/ids.ts';
import type { NumberedEntry } from '../../../contracts/turn-events.ts';
import type { HomeFolder } from '../../../runtime/home-folder.ts';

/** Debian's redis-server, or null. Valkey is what we ship; this is what an operator may have. */
function findRedisServer(): string | null {
  try {
    return execFileSync('sh', ['-c', 'command -v redis-server'], { encoding: 'utf8' }).trim();
  } catch {
    return null;
  }
}

const binary = findRedisServer();

(binary === null ? describe.skip : describe)(
  'a system whose REDIS_URL names a redis-server of the machine',
  () => {
    let home: HomeFolder;
    let redisServer: SupervisedProcess;
    let supervisor: Supervisor;
    let url: string;

    beforeAll(async () => {
      home = createTestHome();
      const port = await new PortBook(join(home.run, 'redis-ports.json')).portFor('redis-server');
      url = `redis://:of-the-operator@127.0.0.1:${port}/0`;
      redisServer = new SupervisedProcess(
        {
          name: 'redis-server',
          kind: 'redis',
          command: binary ?? '',
          args: [
            '--port',
            String(port),
            '--bind',
            '127.0.0.1',
            '--requirepass',
            'of-the-operator',
            '--save',
            '',
          ],
          env: {},
          workingFolder: home.valkey,
          log: join(home.logs, 'redis-server.log'),
          isReady: async () => (await redisFault(url)) === null,
          stopSignal: 'SIGTERM',
          stopMs: 5000,
        },
        () => undefined,
      );
      redisServer.start();
      await redisServer.whenReady(15_000);
      supervisor = new Supervisor({
        settings: readSettings([], { COLLOQUY_HOME: home.root, PORT: '0', REDIS_URL: url }),
        env: { PATH: process.env['PATH'] },
        workingFolder: ROOT,
        progress: SILENT,
        prepareDatabase: () => Promise.resolve({}),
        plan: [
          {
            name: 'gateway-1',
            kind: 'gateway',
            entry: join('test', 'fixtures', 'runtime', 'http-process.cjs'),
            args: [],
          },
        ],
      });
    }, 60_000);

    afterAll(async () => {
      await supervisor.stop();
      await redisServer.stop();
      removeTestHome(home);
    }, 60_000);

    it('starts no Valkey and gives its processes that URL', async () => {
      const endpoints = await supervisor.start(undefined);
      expect(endpoints.redis).toBe(url);
      expect(readProcesses(runFiles(home.run).processes).map(({ kind }) => kind)).not.toContain(
        'redis',
      );
      const env = (await (await fetch(`${endpoints.gateway}/env`)).json()) as Record<
        string,
        string
      >;
      expect(env['REDIS_URL']).toBe(url);
    }, 60_000);

    it('writes, pushes and reads a turn’s log there', async () => {
      const fail = (error: Error): void => {
        throw error;
      };
      const redis = connectRedis({
        url,
        scriptsFolder: projectPath('redis', 'lua'),
        onError: fail,
      });
      const hub = new ChannelHub(connectSubscriber(redis, fail));
      try {
        const [writer, reader] = [
          new RedisTurnLogWriter(redis),
          new RedisTurnLogReader(redis, hub),
        ];
        const [turnId, conversationId] = [newTurnId(), newConversationId()];
        const open = {
          turn_id: turnId,
          user_turn_id: 'u',
          conversation_id: conversationId,
          model: 'm',
          served_model: 's',
          pool: 'mini',
        };
        await writer.create(open, { userId: 'u' as UserId, conversationId });
        const pushed: NumberedEntry[] = [];
        const subscription = await reader.subscribe(turnId, (entry) => pushed.push(entry));
        await writer.claim(turnId, epochOf(1, 1));
        const token: NumberedEntry = {
          n: 2,
          type: 'token',
          data: { text: 'Grüße \u{1f44b}', ids: [7, 8] },
        };
        expect(await writer.append(turnId, epochOf(1, 1), [token])).toBe('ok');
        expect(await writer.append(turnId, epochOf(1, 0), [{ ...token, n: 3 }])).not.toBe('ok');
        await waitFor('the push arrives', () => pushed.length > 0);
        expect(pushed).toEqual([token]);
        expect(await reader.read(turnId, 1)).toEqual([token]);
        await subscription.close();
      } finally {
        hub.close();
        redis.disconnect();
      }
    });
  },
);
