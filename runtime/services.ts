// PostgreSQL, Redis and Temporal of one system: each at its URL from the environment, else embedded.
import { DIRECTORY_SETTINGS, embeddedPostgres } from './embedded-postgres.ts';
import { embeddedTemporal } from './embedded-temporal.ts';
import { embeddedValkey } from './embedded-valkey.ts';
import { postgresFault, redisFault } from './probes.ts';
import { hasReplicas, startReplicatedPostgres } from './replicated-postgres.ts';
import { prepareNamespace } from './temporal-namespace.ts';
import { withTask } from './progress.ts';
import type { EmbeddedService, ServiceContext } from './embedded-service.ts';
import type { ProcessSet } from './process-set.ts';
import type { ClusterEvents } from './replicated-postgres.ts';
import type { PostgresCluster } from './postgres-cluster.ts';
import type { RuntimeSettings } from './settings.ts';

/** Longest that a service may take until it answers; a recovery after a crash counts too. */
const READY_TIMEOUT_MS = 60_000;

export interface ServiceUrls {
  /** For the role that owns the tables. */
  readonly databaseUrl: string;
  /** The other nodes of the embedded database. */
  readonly databaseReplicaUrls: readonly string[];
  /** Shards 1, 2, …; none as a rule. */
  readonly shardUrls: readonly string[];
  readonly redisUrl: string;
  /** host:port */
  readonly temporalAddress: string;
  /** Null for an external Temporal: its UI is not ours to know. */
  readonly temporalUiUrl: string | null;
}

type ServiceSettings = Pick<
  RuntimeSettings,
  'databaseUrl' | 'redisUrl' | 'temporalAddress' | 'temporalNamespace'
> &
  Partial<Pick<RuntimeSettings, 'databaseOwnerUrl' | 'numReplicas' | 'shardUrls' | 'numShards'>> & {
    /** Of the embedded PostgreSQL, beside its own. */
    readonly postgresSettings?: Readonly<Record<string, string>>;
  };

/** One service's part of a start: resolved and ready, or a throw that says in one line what is wrong. */
export interface StartedServices {
  readonly postgres: Promise<string>;
  /** The embedded PostgreSQL's nodes; null when it has one, or is not embedded. */
  readonly cluster: Promise<PostgresCluster | null>;
  readonly shards: Promise<readonly string[]>;
  readonly redis: Promise<string>;
  readonly temporal: Promise<{ address: string; uiUrl: string | null }>;
}

/** Starts or checks all of them at once; each promise resolves when that one is ready, so that others need not wait. */
export function startServices(
  settings: ServiceSettings,
  context: ServiceContext,
  processes: ProcessSet,
  events: ClusterEvents = { tell: () => undefined, onPrimary: () => undefined },
): StartedServices {
  const start = async (
    title: string,
    make: () => Promise<EmbeddedService>,
  ): Promise<EmbeddedService> => {
    const service = await make();
    context.progress.begin(title);
    await processes.add(service.spec).whenReady(READY_TIMEOUT_MS);
    await service.whenReady?.();
    context.progress.done(title);
    return service;
  };
  const cluster = async (): Promise<PostgresCluster | null> => {
    const { databaseUrl, numReplicas = 0 } = settings;
    if (databaseUrl !== null || (numReplicas === 0 && !hasReplicas(context.home))) return null;
    const first = await embeddedPostgres(context);
    return withTask(context.progress, `PostgreSQL with ${numReplicas} replicas`, () =>
      startReplicatedPostgres(first, context, processes, numReplicas, events),
    );
  };
  const replicated = cluster();
  const postgres = async (): Promise<string> => {
    const { databaseUrl, databaseOwnerUrl = null, numShards = 1 } = settings;
    if (databaseUrl !== null) {
      const url = checked('DATABASE_URL', databaseUrl, await postgresFault(databaseUrl));
      if (databaseOwnerUrl === null) return url;
      return checked('DATABASE_OWNER_URL', databaseOwnerUrl, await postgresFault(databaseOwnerUrl));
    }
    const primary = (await replicated)?.primary;
    if (primary !== undefined) return primary.url;
    const given = settings.postgresSettings ?? (numShards > 1 ? DIRECTORY_SETTINGS : {});
    return (await start('PostgreSQL', () => embeddedPostgres(context, { settings: given }))).url;
  };
  const shards = (): Promise<string[]> => {
    const { databaseUrl, shardUrls = [], numShards = 1 } = settings;
    if (databaseUrl !== null)
      return Promise.all(
        shardUrls.map(async (url) => checked('DATABASE_SHARD_URLS', url, await postgresFault(url))),
      );
    return Promise.all(
      Array.from({ length: numShards - 1 }, async (_, index) => {
        const name = `postgres-shard-${index + 1}`;
        const service = await start(`PostgreSQL, shard ${index + 1}`, () =>
          embeddedPostgres(context, { name }),
        );
        return service.url;
      }),
    );
  };
  const redis = async (): Promise<string> => {
    const { redisUrl } = settings;
    if (redisUrl === null) return (await start('Valkey', () => embeddedValkey(context))).url;
    return checked('REDIS_URL', redisUrl, await redisFault(redisUrl));
  };
  const temporal = async (): Promise<{ address: string; uiUrl: string | null }> => {
    const { temporalAddress, temporalNamespace } = settings;
    if (temporalAddress === null) {
      const service = await start('Temporal', () => embeddedTemporal(context, temporalNamespace));
      return { address: service.url, uiUrl: service.uiUrl ?? null };
    }
    await prepareNamespace(temporalAddress, temporalNamespace);
    return { address: temporalAddress, uiUrl: null };
  };
  return {
    postgres: postgres(),
    cluster: replicated,
    shards: shards(),
    redis: redis(),
    temporal: temporal(),
  };
}

/** Waits for all of them. @throws the first fault */
export async function whenServicesReady(started: StartedServices): Promise<ServiceUrls> {
  const [databaseUrl, cluster, shardUrls, redisUrl, temporal] = await Promise.all([
    started.postgres,
    started.cluster,
    started.shards,
    started.redis,
    started.temporal,
  ]);
  const databaseUrls = cluster?.nodes.map(({ url }) => url) ?? [];
  return {
    databaseUrl,
    databaseReplicaUrls: databaseUrls.filter((url) => url !== databaseUrl),
    shardUrls,
    redisUrl,
    temporalAddress: temporal.address,
    temporalUiUrl: temporal.uiUrl,
  };
}

/** The address as an operator may see it: no user, no password. It may be a list of nodes, which is no URL. */
export function withoutCredentials(url: string): string {
  return url.replace(/^([a-z]+:\/\/)(?:[^@/]*@)?([^?]*).*$/, '$1$2');
}

function checked(variable: string, url: string, fault: string | null): string {
  if (fault === null) return url;
  throw new Error(`${variable} (${withoutCredentials(url)}) does not answer: ${fault}.`);
}
