import { parseRedisUrl } from '../../../redis/redis-url.ts';

describe('parseRedisUrl', () => {
  it.each([
    'redis://cache',
    'redis://:secret@127.0.0.1:6379/3',
    'rediss://me:secret@cache.internal:6380/0?family=6',
  ])('leaves the URL of one node to the client as it is: %s', (url) => {
    expect(parseRedisUrl(url)).toEqual({ kind: 'node', url });
  });

  it('takes several hosts for nodes of a cluster, 6379 where no port is given', () => {
    expect(parseRedisUrl('redis://me:s%40cret:2@a:7000,b,[::1]:7002/0')).toEqual({
      kind: 'cluster',
      nodes: [
        { host: 'a', port: 7000 },
        { host: 'b', port: 6379 },
        { host: '::1', port: 7002 },
      ],
      username: 'me',
      password: 's@cret:2',
      isTls: false,
    });
  });

  it('takes one address for a cluster when it says so', () => {
    expect(parseRedisUrl('rediss://:pw@cluster.internal:6379?cluster=1')).toEqual({
      kind: 'cluster',
      nodes: [{ host: 'cluster.internal', port: 6379 }],
      username: null,
      password: 'pw',
      isTls: true,
    });
  });

  it.each([
    ['redis://:secret@a,b/1', 'database 0 only'],
    ['redis://:secret@a,:7000', 'host or host:port'],
    ['redis://:secret@a,b:70000', 'host or host:port'],
  ])('refuses what no cluster is, without repeating the URL: %s', (url, message) => {
    let said = '';
    try {
      parseRedisUrl(url);
    } catch (error) {
      said = (error as Error).message;
    }
    expect(said).toContain(message);
    expect(said).not.toContain('secret');
  });
});
