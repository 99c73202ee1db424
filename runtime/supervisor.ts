// Starts a whole system in the right order and stops it in the reverse: lock, services, schema, processes, endpoints.
// Knows what to start only as data.
import { loadCatalog } from '../contracts/catalog.ts';
import { createHomeFolder, homeFolder } from './home-folder.ts';
import { acquireLock } from './home-lock.ts';
import { logPath } from './log-files.ts';
import { nodeProcess } from './node-process.ts';
import { endOrphans } from './orphans.ts';
import { isPortFree, PortBook } from './ports.ts';
import { withTask } from './progress.ts';
import { ProcessSet } from './process-set.ts';
import { clearRunFiles, readProcesses, runFiles, writeEndpoints } from './run-files.ts';
import { appUrl } from '../postgres/roles.ts';
import { demoTokens, servicePassword } from './secrets.ts';
import { startServices, whenServicesReady } from './services.ts';
import { serveOrders } from './promotion.ts';
import { planProcesses } from './topology.ts';
import { ensureEncoderWeights, ensureWeights } from './weights.ts';
import type { HomeFolder } from './home-folder.ts';
import type { PostgresCluster } from './postgres-cluster.ts';
import type { DemoTokens } from './secrets.ts';
import type { Endpoints, RunFiles } from './run-files.ts';
import type { PlannedProcess } from './topology.ts';
import type { Progress } from './progress.ts';
import type { RuntimeSettings } from './settings.ts';
import type { ServiceUrls } from './services.ts';
import type { SupervisedProcess } from './supervised-process.ts';

const DEFAULT_GATEWAY_PORT = 8080;
/** Loading weights takes seconds on a slow disk; a first compile of nothing else may take this long. */
const READY_TIMEOUT_MS = 120_000;

export interface SupervisorOptions {
  readonly settings: RuntimeSettings;
  /** The operator's environment; handed on to every process. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The checkout. */
  readonly workingFolder: string;
  readonly progress: Progress;
  /** Schema, the processes' role and demo users; resolves tier → user id. See database.ts. */
  readonly prepareDatabase: (
    ownerUrl: string,
    workingFolder: string,
    tokens: DemoTokens,
    shardUrls: readonly string[],
    appPassword: string | null,
  ) => Promise<Readonly<Record<string, string>>>;
  /** The processes to run instead of the catalogue's. */
  readonly plan?: readonly PlannedProcess[];
  /** Hears of each change of a process's state. */
  readonly onChange?: (process: SupervisedProcess) => void;
}

export class Supervisor {
  private readonly options: SupervisorOptions;
  private readonly home: HomeFolder;
  private readonly files: RunFiles;
  private readonly ports: PortBook;
  private readonly env: Readonly<Record<string, string>>;
  private readonly abort = new AbortController();
  private releaseLock: (() => void) | null = null;
  private processes: ProcessSet | null = null;
  private cluster: PostgresCluster | null = null;
  private endpoints: Endpoints | null = null;
  private stopOrders: () => void = () => undefined;
  private stopping: Promise<void> | null = null;
  private restarting: Promise<void> | null = null;

  constructor(options: SupervisorOptions) {
    this.options = options;
    this.home = homeFolder(options.settings.home);
    this.files = runFiles(this.home.run);
    createHomeFolder(this.home);
    this.ports = new PortBook(this.files.ports);
    const given = Object.entries(options.env).filter(
      (entry): entry is [string, string] => entry[1] !== undefined,
    );
    this.env = { ...Object.fromEntries(given), COLLOQUY_HOME: this.home.root };
  }

  /** Every supervised process so far. */
  get all(): readonly SupervisedProcess[] {
    return this.processes?.all ?? [];
  }

  /**
   * Starts everything.
   * @param metricsUrl where the supervisor itself is measured
   * @returns where the system is reached; also in run/endpoints.json
   * @throws HomeLockedError; Error in words for the operator. Either way the caller still has to stop().
   */
  async start(metricsUrl: string | undefined): Promise<Endpoints> {
    this.releaseLock = acquireLock(this.files.lock);
    const { settings, progress, workingFolder } = this.options;
    const catalog = loadCatalog(settings.catalogPath);
    const plan = this.options.plan ?? planProcesses(settings, catalog);
    const ended = await endOrphans(readProcesses(this.files.processes));
    if (ended.length > 0)
      progress.line(`Ended what an earlier run left behind: ${ended.join(', ')}.`);
    clearRunFiles(this.files);
    this.processes = this.createProcessSet(metricsUrl);
    const context = {
      home: this.home,
      ports: this.ports,
      progress,
      env: this.env,
      signal: this.abort.signal,
    };
    const started = startServices(settings, context, this.processes, {
      tell: (text) => progress.line(text),
      onPrimary: ({ url }) => this.movePrimary(url),
    });
    const tokens = demoTokens(this.home.secrets);
    const database = Promise.all([started.postgres, started.shards]).then(([url, shardUrls]) =>
      withTask(progress, 'database schema', () =>
        this.options.prepareDatabase(url, workingFolder, tokens, shardUrls, this.appPassword()),
      ),
    );
    // All at once, and the first fault ends the start; the others' outcomes are then of no interest.
    const [services, users] = await Promise.all([
      whenServicesReady(started),
      database,
      ensureWeights(this.home, catalog, context),
      ensureEncoderWeights(this.home, context),
    ]);
    const gateways = await this.startProcesses(plan, services);
    this.cluster = await started.cluster;
    this.stopOrders = serveOrders(this.files, this.cluster);
    // A promotion may have come since.
    const databaseUrl = this.cluster?.primary.url ?? services.databaseUrl;
    this.endpoints = this.endpointsOf(gateways, { ...services, databaseUrl }, tokens, users);
    writeEndpoints(this.files.endpoints, this.endpoints);
    return this.endpoints;
  }

  /** Our processes find the new primary themselves; whoever reads the file does by it. */
  private movePrimary(postgres: string): void {
    if (this.endpoints === null) return;
    this.endpoints = { ...this.endpoints, postgres };
    writeEndpoints(this.files.endpoints, this.endpoints);
  }

  /** Stops everything in order and frees the home. Idempotent; also ends a start that is still under way. */
  stop(): Promise<void> {
    this.stopping ??= (async () => {
      this.abort.abort();
      this.stopOrders();
      await this.cluster?.stop();
      await this.processes?.stop();
      if (this.releaseLock === null) return; // another start owns this home's files
      clearRunFiles(this.files);
      this.releaseLock();
    })();
    return this.stopping;
  }

  /** Restarts our own processes one by one under way. A second call joins the first. @throws Error when one does not come up */
  restartEach(): Promise<void> {
    this.restarting ??= (
      this.processes?.restartEach(READY_TIMEOUT_MS) ?? Promise.resolve()
    ).finally(() => (this.restarting = null));
    return this.restarting;
  }

  /** Makes a running stop() end at once. */
  kill(): void {
    this.processes?.kill();
  }

  private createProcessSet(metricsUrl: string | undefined): ProcessSet {
    return new ProcessSet({
      path: this.files.processes,
      supervisor: {
        name: 'supervisor',
        kind: 'supervisor',
        log: logPath(this.home.logs, 'supervisor'),
        ...(metricsUrl === undefined ? {} : { metrics_url: metricsUrl }),
      },
      onChange: (changed) => this.options.onChange?.(changed),
      onWriteError: (error) =>
        this.options.progress.line(`${this.files.processes} is out of date: ${error.message}`),
    });
  }

  /** @returns the gateways' base URLs */
  private async startProcesses(
    plan: readonly PlannedProcess[],
    services: ServiceUrls,
  ): Promise<string[]> {
    const { settings, workingFolder, progress } = this.options;
    const env = {
      ...this.env,
      ...this.databaseVariables(services),
      REDIS_URL: services.redisUrl,
      TEMPORAL_ADDRESS: services.temporalAddress,
    };
    const gateways: string[] = [];
    const starts: Promise<void>[] = [];
    for (const planned of plan) {
      const isGateway = planned.kind === 'gateway';
      const port = isGateway
        ? await this.gatewayPort(planned.name, gateways.length === 0)
        : await this.ports.portFor(planned.name);
      const baseUrl = `http://${isGateway ? reachableHost(settings.host) : '127.0.0.1'}:${port}`;
      if (isGateway) gateways.push(baseUrl);
      const spec = nodeProcess(planned, baseUrl, {
        home: this.home,
        workingFolder,
        env:
          planned.kind === 'background-worker'
            ? {
                ...env,
                DATABASE_OWNER_URL: [services.databaseUrl, ...services.shardUrls].join(','),
              }
            : env,
        drainMs: settings.drainMs,
      });
      starts.push(
        withTask(progress, planned.name, async () =>
          this.processes?.add(spec).whenReady(READY_TIMEOUT_MS),
        ),
      );
    }
    this.ports.save();
    await Promise.all(starts);
    return gateways;
  }

  /** Null when the database is not ours to give roles passwords in. */
  private appPassword(): string | null {
    if (this.options.settings.databaseUrl !== null) return null;
    return servicePassword(this.home.secrets, 'app');
  }

  /** Processes get the role without DDL; only the background worker has the owner's beside it. */
  private databaseVariables(services: ServiceUrls): Readonly<Record<string, string>> {
    const { databaseUrl } = this.options.settings;
    const password = this.appPassword();
    const own = (url: string): string => (password === null ? url : appUrl(url, password));
    const { databaseReplicaUrls, shardUrls } = services;
    return {
      DATABASE_URL: databaseUrl ?? own(services.databaseUrl),
      DATABASE_OWNER_URL: '',
      ...(databaseReplicaUrls.length === 0
        ? {}
        : { DATABASE_REPLICA_URLS: databaseReplicaUrls.map(own).join(',') }),
      DATABASE_SHARD_URLS: shardUrls.map(own).join(','),
    };
  }

  /** The first gateway has the port that was asked for; the others any. */
  private async gatewayPort(name: string, isFirst: boolean): Promise<number> {
    const { port: asked } = this.options.settings;
    if (!isFirst || asked === 0) return this.ports.portFor(name);
    if (asked !== null) {
      if (await isPortFree(asked)) return this.ports.portFor(name, asked);
      throw new Error(`PORT ${asked} is in use; set another one, or 0 for any.`);
    }
    const port = await this.ports.portFor(name, DEFAULT_GATEWAY_PORT);
    if (port !== DEFAULT_GATEWAY_PORT)
      this.options.progress.line(
        `Port ${DEFAULT_GATEWAY_PORT} is in use: the gateway listens on ${port}.`,
      );
    return port;
  }

  private endpointsOf(
    gateways: readonly string[],
    services: ServiceUrls,
    tokens: DemoTokens,
    users: Readonly<Record<string, string>>,
  ): Endpoints {
    return {
      gateway: gateways[0] ?? '',
      gateways,
      temporal: services.temporalAddress,
      temporal_ui: services.temporalUiUrl,
      postgres: services.databaseUrl,
      ...(this.cluster === null
        ? {}
        : { postgres_nodes: this.cluster.nodes.map(({ name, url }) => ({ name, url })) }),
      ...(services.shardUrls.length === 0 ? {} : { postgres_shards: services.shardUrls }),
      redis: services.redisUrl,
      tokens,
      users,
    };
  }
}

/** A gateway that listens on all addresses is reached on loopback. */
function reachableHost(host: string): string {
  if (host === '0.0.0.0' || host === '::' || host === 'localhost') return '127.0.0.1';
  return host.includes(':') ? `[${host}]` : host;
}
