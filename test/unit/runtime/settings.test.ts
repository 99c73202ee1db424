import { loadCatalog } from '../../../contracts/catalog.ts';
import { readSettings } from '../../../runtime/settings.ts';
import { planProcesses } from '../../../runtime/topology.ts';
import { withoutCredentials } from '../../../runtime/services.ts';

describe('readSettings', () => {
  it('starts one gateway and embedded services by default', () => {
    const settings = readSettings([], {});
    expect(settings).toMatchObject({
      numGateways: 1,
      databaseUrl: null,
      redisUrl: null,
      temporalAddress: null,
      port: null,
      drainMs: 20_000,
    });
    expect(settings.numWorkers.size).toBe(0);
  });

  it('reads counts of gateways and of each pool’s workers', () => {
    const settings = readSettings(
      ['--gateways', '3', '--workers', 'mini=2', '--workers', 'default=0'],
      {},
    );
    expect(settings.numGateways).toBe(3);
    expect([...settings.numWorkers]).toEqual([
      ['mini', 2],
      ['default', 0],
    ]);
  });

  it('takes standbys for the embedded PostgreSQL only, and no more than its primary can feed', () => {
    expect(readSettings([], {}).numReplicas).toBe(0);
    expect(readSettings(['--replicas', '2'], {}).numReplicas).toBe(2);
    expect(() => readSettings(['--replicas', '5'], {})).toThrow(/from 0 to 4/);
    expect(() => readSettings(['--replicas', '1'], { DATABASE_URL: 'postgres://db/x' })).toThrow(
      /DATABASE_REPLICA_URLS/,
    );
  });

  it('takes empty variables for absent ones', () => {
    expect(readSettings([], { REDIS_URL: '', PORT: '' })).toMatchObject({
      redisUrl: null,
      port: null,
    });
  });

  it('counts embedded shards by the flag and external ones by their URLs', () => {
    const external = { DATABASE_URL: 'postgres://a/x', DATABASE_SHARD_URLS: 'postgres://b/x' };
    expect(readSettings([], {}).numShards).toBe(1);
    expect(readSettings(['--shards', '2'], {}).numShards).toBe(2);
    expect(readSettings([], external)).toMatchObject({
      numShards: 2,
      shardUrls: ['postgres://b/x'],
    });
    expect(() => readSettings(['--shards', '3'], external)).toThrow('--shards 3 does not fit');
    expect(() => readSettings([], { ...external, DATABASE_URL: '' })).toThrow('is missing');
  });

  it('tells a port of 0 from no port', () => {
    expect(readSettings([], { PORT: '0' }).port).toBe(0);
  });

  it.each([
    [['--gateways', '0'], {}, '--gateways takes a whole number from 1 to 64; received "0".'],
    [['--gateways', '1e1'], {}, '--gateways takes a whole number'],
    [['--workers', 'mini'], {}, '--workers takes POOL=N, such as mini=2; received "mini".'],
    [
      ['--workers', 'mini=-1'],
      {},
      '--workers mini takes a whole number from 0 to 64; received "-1".',
    ],
    [['--nonsense'], {}, '--nonsense'],
    [[], { REDIS_URL: 'http://127.0.0.1' }, 'must begin with redis://'],
    [[], { TEMPORAL_ADDRESS: 'http://127.0.0.1:7233' }, 'must be host:port'],
    [[], { PORT: '70000' }, 'PORT'],
  ])('refuses %j with %j', (argv, env, message) => {
    expect(() => readSettings(argv, env)).toThrow(message);
  });
});

describe('planProcesses', () => {
  const catalog = loadCatalog('config/catalog.yaml');

  it('runs a turn worker, a background worker, a worker a pool and a gateway by default', () => {
    expect(planProcesses(readSettings([], {}), catalog).map(({ name }) => name)).toEqual([
      'turn-worker-1',
      'background-worker-1',
      'inference-mini-1',
      'inference-default-1',
      'gateway-1',
    ]);
  });

  it('runs as many of each as it is asked for', () => {
    const settings = readSettings(
      ['--gateways', '2', '--workers', 'mini=2', '--workers', 'default=0'],
      {},
    );
    const names = planProcesses(settings, catalog).map(({ name }) => name);
    expect(names.filter((name) => name.startsWith('inference'))).toEqual([
      'inference-mini-1',
      'inference-mini-2',
    ]);
    expect(names.filter((name) => name.startsWith('gateway'))).toEqual(['gateway-1', 'gateway-2']);
  });

  it('refuses a pool that the catalogue has not and names those it has', () => {
    expect(() => planProcesses(readSettings(['--workers', 'huge=1'], {}), catalog)).toThrow(
      '--workers names pool "huge"; the catalogue has mini, default.',
    );
  });
});

describe('withoutCredentials', () => {
  it('shows an operator a URL without user and password', () => {
    expect(withoutCredentials('postgres://me:secret@db:5432/colloquy')).toBe(
      'postgres://db:5432/colloquy',
    );
    expect(withoutCredentials('redis://:secret@a:7000,b:7001?cluster=1')).toBe(
      'redis://a:7000,b:7001',
    );
  });
});
