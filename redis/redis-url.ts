// REDIS_URL as this project reads it: one node as ioredis takes it, or the nodes of a cluster,
// `redis://:password@a:6379,b:6379,c:6379`. One address that stands for a cluster says so: `redis://a:6379?cluster=1`.

export interface RedisNode {
  readonly host: string;
  readonly port: number;
}

export type RedisTarget =
  | { readonly kind: 'node'; readonly url: string }
  | {
      readonly kind: 'cluster';
      /** Some of its nodes, enough that one answers; the others are learnt from it. */
      readonly nodes: readonly RedisNode[];
      readonly username: string | null;
      readonly password: string | null;
      readonly isTls: boolean;
    };

const DEFAULT_PORT = 6379;
const SHAPE = /^(rediss?):\/\/(?:([^@/]*)@)?([^@/?#]+)(?:\/(\d*))?(?:\?([^#]*))?$/;

/** @throws Error in one line, without the URL: it holds a password */
export function parseRedisUrl(url: string): RedisTarget {
  const [, scheme, credentials = '', hosts = '', database = '', query = ''] = SHAPE.exec(url) ?? [];
  const isCluster = hosts.includes(',') || new URLSearchParams(query).get('cluster') === '1';
  if (!isCluster) return { kind: 'node', url };
  if (database !== '' && database !== '0')
    throw new Error('A Redis cluster is used with database 0 only.');
  const [username = '', password = ''] = credentials.split(/:(.*)/s).map(decodeURIComponent);
  return {
    kind: 'cluster',
    nodes: hosts.split(',').map(nodeOf),
    username: username === '' ? null : username,
    password: password === '' ? null : password,
    isTls: scheme === 'rediss',
  };
}

function nodeOf(address: string): RedisNode {
  const [, host = '', port = String(DEFAULT_PORT)] =
    /^(\[[^\]]+\]|[^:]+)(?::(\d+))?$/.exec(address) ?? [];
  const number = Number(port);
  if (host === '' || number < 1 || number > 65_535)
    throw new Error('Each node of a Redis cluster is host or host:port.');
  return { host: host.replace(/^\[|\]$/g, ''), port: number };
}
