// PostgreSQL, Redis and Temporal of one system: each at its URL from the environment, else embedded.
import { embeddedPostgres } from './embedded-postgres.ts';
import { embeddedTemporal } from './embedded-temporal.ts';
import { embeddedValkey } from './embedded-valkey.ts';
import { postgresFault, redisFault } from './probes.ts';
import { prepareNamespace } from './temporal-namespace.ts';
import type { EmbeddedService, ServiceContext } from './embedded-service.ts';
import type { ProcessSet } from './process-set.ts';
import type { RuntimeSettings } from './settings.ts';

/** Longest that a service may take until it answers; a recovery after a crash counts too. */
const READY_TIMEOUT_MS = 60_000;

export interface ServiceUrls {
  /** For the role that owns the tables. */
  readonly databaseUrl: string;
  readonly redisUrl: string;
  /** host:port */
  readonly temporalAddress: string;
  /** Null for an external Temporal: its UI is not ours to know. */
  readonly temporalUiUrl: string | null;
}

type ServiceSettings = Pick<
  RuntimeSettings,
  'databaseUrl' | 'databaseOwnerUrl' | 'redisUrl' | 'temporalAddress' | 'temporalNamespace'
>;

/** One service's part of a start: resolved and ready, or a throw that says in one line what is wrong. */
export interface StartedServices {
  readonly postgres: Promise<string>;
  readonly redis: Promise<string>;
  readonly temporal: Promise<{ address: string; uiUrl: string | null }>;
}

/** Starts or checks all three at once; each promise resolves when that one is ready, so that others need not wait. */
export function startServices(
  settings: ServiceSettings,
  context: ServiceContext,
  processes: ProcessSet,
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
  const postgres = async (): Promise<string> => {
    const { databaseUrl, databaseOwnerUrl } = settings;
    if (databaseUrl === null)
      return (await start('PostgreSQL', () => embeddedPostgres(context))).url;
    const url = checked('DATABASE_URL', databaseUrl, await postgresFault(databaseUrl));
    if (databaseOwnerUrl === null) return url;
    return checked('DATABASE_OWNER_URL', databaseOwnerUrl, await postgresFault(databaseOwnerUrl));
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
  return { postgres: postgres(), redis: redis(), temporal: temporal() };
}

/** Waits for all three. @throws the first fault */
export async function whenServicesReady(started: StartedServices): Promise<ServiceUrls> {
  const [databaseUrl, redisUrl, temporal] = await Promise.all([
    started.postgres,
    started.redis,
    started.temporal,
  ]);
  return {
    databaseUrl,
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
