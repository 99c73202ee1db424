import { readFileSync } from 'node:fs';
import { loadConfig } from '../../../process/config.ts';
import { envExample } from '../../../process/env-example.ts';
import { projectPath } from '../../../process/paths.ts';

const NEEDED = {
  DATABASE_URL: 'postgres://u:secret@db/x',
  REDIS_URL: 'redis://cache',
  TEMPORAL_ADDRESS: 'temporal:7233',
};

describe('loadConfig', () => {
  it('fills in defaults and freezes the result', () => {
    const config = loadConfig(NEEDED);
    expect(config.http).toMatchObject({ host: '127.0.0.1', port: 8080, disconnectGraceMs: 15_000 });
    expect(Object.isFrozen(config)).toBe(true);
  });

  it('takes shards as a list of URLs', () => {
    const shardsOf = (list: string): readonly string[] =>
      loadConfig({ ...NEEDED, DATABASE_SHARD_URLS: list }).postgres.shardUrls;
    expect(shardsOf('')).toEqual([]);
    expect(shardsOf('postgres://a/x,postgresql://b/x')).toEqual([
      'postgres://a/x',
      'postgresql://b/x',
    ]);
    expect(() => shardsOf('postgres://a/x,mysql://b:secret@x')).toThrow('DATABASE_SHARD_URLS');
  });

  it('takes an empty variable for an absent one', () => {
    expect(loadConfig({ ...NEEDED, PORT: '' }).http.port).toBe(8080);
  });

  it('reads the other nodes of the database as a list, and refuses what is none without echoing it', () => {
    const { replicaUrls } = loadConfig({
      ...NEEDED,
      DATABASE_REPLICA_URLS: 'postgres://u:pw@a/x,postgresql://u:pw@b/x',
    }).postgres;
    expect(replicaUrls).toEqual(['postgres://u:pw@a/x', 'postgresql://u:pw@b/x']);
    expect(loadConfig(NEEDED).postgres.replicaUrls).toEqual([]);
    const bad = (): unknown =>
      loadConfig({ ...NEEDED, DATABASE_REPLICA_URLS: 'postgres://u:hush@a/x,b' });
    expect(bad).toThrow('DATABASE_REPLICA_URLS');
    expect(bad).not.toThrow('hush');
  });

  it('lists every bad variable at once, and echoes no secret', () => {
    const load = (): unknown =>
      loadConfig({
        DATABASE_URL: 'mysql://u:secret@db',
        REDIS_URL: 'x',
        PORT: '70000',
        LOG_LEVEL: 'loud',
      });
    for (const name of ['DATABASE_URL', 'REDIS_URL', 'TEMPORAL_ADDRESS', 'PORT', 'LOG_LEVEL'])
      expect(load).toThrow(name);
    expect(load).not.toThrow('secret');
  });

  it('is described by .env.example, which is printed from it', () => {
    expect(readFileSync(projectPath('.env.example'), 'utf8')).toBe(envExample());
  });
});
