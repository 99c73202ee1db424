// The nodes of one database: which is the primary, which replicas may answer a read. Looks at all of them a few times a second
// and goes on with what it last knew; what is asked of a node that has just died fails by itself.
import type { LogPosition } from '../contracts/write-marks.ts';
import { mayRead, primaryAmong } from './node-choice.ts';
import type { KnownStore, ReadNeed } from './node-choice.ts';
import { NodeWatch } from './node-watch.ts';
import { createPool } from './pool.ts';
import type { Pool, PoolSettings } from './pool.ts';
import { ProgressLog } from './progress-log.ts';

const POLL_MS = 250;
/** A node that takes this long for a look is skipped until it answers one in time. */
const LOOK_ANSWER_MS = 500;
/** Replicas this much further away than the nearest are not asked while a nearer one may be. */
const AS_NEAR_MS = 5;

export interface NodeSetOptions {
  /** Of the database, among all that this process knows. */
  readonly name: string;
  /** One a node, any order; the first is taken for the primary until a look says otherwise. */
  readonly urls: readonly string[];
  /** Of each node's pool. */
  readonly pool: Omit<PoolSettings, 'url'>;
  readonly maxLagMs: number;
  readonly onError: (error: Error) => void;
  /** Hears after each look how far behind each replica is: seconds, Infinity when it is not known to be near; null = no replica now. */
  readonly onLag?: (node: string, seconds: number | null) => void;
}

export interface StoreNode {
  /** host:port */
  readonly name: string;
  readonly pool: Pool;
  readonly watch: NodeWatch;
}

export class NodeSet {
  readonly name: string;
  readonly nodes: readonly StoreNode[];
  readonly #options: NodeSetOptions;
  readonly #progress: ProgressLog;
  #primary: StoreNode;
  #systemId: string | null = null;
  #timeline = 0;
  #numReads = 0;
  readonly #timer: NodeJS.Timeout;

  constructor(options: NodeSetOptions) {
    this.name = options.name;
    this.#options = options;
    this.#progress = new ProgressLog(options.maxLagMs * 2);
    this.nodes = options.urls.map((url) => ({
      name: new URL(url).host,
      pool: createPool({ ...options.pool, url }, options.onError),
      watch: new NodeWatch(url, LOOK_ANSWER_MS, () => this.#onView()),
    }));
    const [first] = this.nodes;
    if (first === undefined) throw new Error('A database has at least one node.');
    this.#primary = first;
    this.#timer = setInterval(() => this.nodes.forEach(({ watch }) => watch.poll()), POLL_MS);
    this.nodes.forEach(({ watch }) => watch.poll());
  }

  /** The present primary, or the last one while there is none. */
  get primary(): StoreNode {
    return this.#primary;
  }

  /** The primary answered when it was last asked. */
  get hasPrimary(): boolean {
    const view = this.#primary.watch.view;
    return view !== null && !view.isStandby && view.position.timeline >= this.#timeline;
  }

  get maxLagMs(): number {
    return this.#options.maxLagMs;
  }

  /** How far the primary is by now: at or behind every commit that was acknowledged before the call. Null when it does not say. */
  async positionNow(): Promise<LogPosition | null> {
    const asked = this.#primary;
    const view = await asked.watch.look();
    return view === null || view.isStandby || asked !== this.#primary ? null : view.position;
  }

  /** Looks at every node but the primary, now. */
  async lookAtReplicas(): Promise<void> {
    await Promise.all(
      this.nodes.filter((node) => node !== this.#primary).map(({ watch }) => watch.look()),
    );
  }

  /** A statement on a node has failed: sees what is the matter rather sooner than later. */
  suspect(node: StoreNode): void {
    node.watch.poll();
  }

  /** Replicas that may answer a read, nearest first, those as near in turn. */
  readers(need: ReadNeed): StoreNode[] {
    const known = this.#known();
    const able = this.nodes.filter(({ watch }) => {
      const { view } = watch;
      return view !== null && mayRead(view, known, need);
    });
    const tookMs = (node: StoreNode): number => node.watch.view?.tookMs ?? Infinity;
    const nearest = Math.min(...able.map(tookMs));
    const near = able.filter((node) => tookMs(node) <= nearest + AS_NEAR_MS);
    const first = this.#numReads++ % Math.max(1, near.length);
    return [
      ...near.slice(first),
      ...near.slice(0, first),
      ...able.filter((node) => !near.includes(node)),
    ];
  }

  /** Every node is a standby that has applied the log up to there, or the primary: no read can miss it. */
  isEverywhere(position: LogPosition): boolean {
    return this.nodes.every((node) => {
      if (node === this.#primary) return true;
      const { view } = node.watch;
      return view?.position.timeline === position.timeline && view.position.lsn >= position.lsn;
    });
  }

  async end(): Promise<void> {
    clearInterval(this.#timer);
    this.nodes.forEach(({ watch }) => watch.end());
    await Promise.all(this.nodes.map(({ pool }) => pool.end()));
  }

  #onView(): void {
    const views = this.nodes.map(({ watch }) => watch.view);
    const found = this.nodes[primaryAmong(views, this.#systemId, this.#timeline)];
    const view = found?.watch.view ?? null;
    if (found !== undefined && view !== null) {
      this.#primary = found;
      this.#systemId = view.systemId;
      this.#timeline = view.position.timeline;
      this.#progress.add(view);
    }
    // Without a primary there is still the log that the replicas follow.
    for (const each of views) {
      if (each === null || (this.#systemId ?? each.systemId) !== each.systemId) continue;
      this.#systemId = each.systemId;
      if (!this.hasPrimary) this.#timeline = Math.max(this.#timeline, each.position.timeline);
    }
    this.nodes.forEach((node) => this.#options.onLag?.(node.name, this.#lagOf(node)));
  }

  #known(): KnownStore {
    const standbys = this.nodes.flatMap(({ watch: { view } }) =>
      view?.isStandby === true && view.systemId === this.#systemId ? [view] : [],
    );
    return {
      systemId: this.#systemId,
      timeline: this.#timeline,
      hasPrimary: this.hasPrimary,
      furthestLsn: Math.max(0, ...standbys.map(({ receivedLsn }) => receivedLsn)),
      asOf: (lsn) => this.#progress.asOf(lsn),
    };
  }

  #lagOf(node: StoreNode): number | null {
    if (node === this.#primary) return null;
    const { view } = node.watch;
    const asOf = view === null ? null : this.#progress.asOf(view.position.lsn);
    return asOf === null ? Infinity : (performance.now() - asOf) / 1000;
  }
}
