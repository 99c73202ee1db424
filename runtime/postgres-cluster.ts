// The embedded PostgreSQL with standbys: keeps one primary and everybody else behind it. A primary that dies is replaced, a
// standby that is lost is brought back, and writes wait for no standby that is not there. docs/decisions/0016-read-your-writes.md
import { setTimeout as pause } from 'node:timers/promises';
import {
  onNode,
  requireStandby,
  streamingStandbys,
  viewOf,
} from '../postgres/replication-admin.ts';
import { chooseSuccessor, fenceStandbys, promoteNode, unfence } from './postgres-failover.ts';
import type { ClusterRecord } from './cluster-record.ts';
import type { NodeFolders, PostgresNode } from './embedded-replica.ts';
import type { ProcessSet } from './process-set.ts';
import type { SupervisedProcess } from './supervised-process.ts';

const READY_TIMEOUT_MS = 60_000;
const WATCH_MS = 500;
/** A server has taken in a new setting by then. */
const RELOAD_MS = 400;
/** Writes wait for a standby this long after the last one was lost; its own time-out comes on top when it hangs. */
const ALONE_MS = 1000;
/** A standby that runs and receives nothing for this long has missed too much: it is copied anew. */
const STRAYED_MS = 10_000;

export interface ClusterOptions {
  /** In the order of their names; the first is the primary of a new home. */
  readonly nodes: readonly PostgresNode[];
  readonly folders: NodeFolders;
  readonly record: ClusterRecord;
  readonly processes: ProcessSet;
  /** Runs once on the primary, before anybody copies it. */
  readonly prepare: () => Promise<void>;
  /** One line for the operator. */
  readonly tell: (text: string) => void;
  /** Another node is the primary now. */
  readonly onPrimary: (node: PostgresNode) => void;
}

export class PostgresCluster {
  readonly #options: ClusterOptions;
  readonly #processes = new Map<string, SupervisedProcess>();
  /** Nodes that are being made standbys: stopped, or copied. */
  readonly #returning = new Set<string>();
  readonly #strayedSince = new Map<string, number>();
  #aloneSince: number | null = null;
  /** Since when the primary has been told to wait for a standby … */
  #askedSince: number | null = null;
  /** … and what a standby has to reach before everything acknowledged counts as being there. */
  #syncFrom: number | null = null;
  #change: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | null = null;
  #isStopped = false;

  constructor(options: ClusterOptions) {
    this.#options = options;
  }

  get nodes(): readonly PostgresNode[] {
    return this.#options.nodes;
  }

  /** The recorded one; during a change, the one to be. */
  get primary(): PostgresNode {
    const { nodes, record } = this.#options;
    const found = nodes.find(({ name }) => name === record.primary) ?? nodes[0];
    if (found === undefined) throw new Error('A cluster has at least one node.');
    return found;
  }

  get #standbys(): PostgresNode[] {
    return this.nodes.filter(({ name }) => name !== this.primary.name);
  }

  /** Starts the primary, makes and starts its standbys, and resolves when what is acknowledged is on one of them. */
  async start(): Promise<void> {
    const { record, prepare } = this.#options;
    const { primary } = this;
    await this.#add(primary).whenReady(READY_TIMEOUT_MS);
    // A promotion that was recorded and not carried out: the last supervisor died between the two.
    const isStandby = (await viewOf(primary.adminUrl))?.isStandby === true;
    if (isStandby) await promoteNode(primary, [], record);
    record.write({ synchronous: false });
    await onNode(primary.adminUrl, (client) => requireStandby(client, false));
    await prepare();
    await Promise.all(this.#standbys.map((node) => this.#startStandby(node)));
    const deadline = Date.now() + READY_TIMEOUT_MS;
    while (this.#standbys.length > 0 && !record.isSynchronous && Date.now() < deadline) {
      await this.#watchStandbys();
      await pause(WATCH_MS / 10);
    }
    this.#watchLater();
  }

  /**
   * Hands the primary's role to a standby: in order when the primary runs.
   * @param wanted a node's name; it is taken when it has as much as any other
   * @returns the new primary's name @throws Error in words for the operator
   */
  async promote(wanted: string | null): Promise<string> {
    const before = this.primary;
    if (wanted === before.name) return before.name;
    if (wanted !== null && !this.nodes.some(({ name }) => name === wanted))
      throw new Error(
        `There is no node ${wanted}; there are ${this.#standbys.map(({ name }) => name).join(', ')}.`,
      );
    if (!this.#options.record.isSynchronous)
      throw new Error('No standby has all that was acknowledged: nobody can take over now.');
    await this.#changePrimary(before, wanted);
    if (this.primary === before) throw new Error('No standby could be promoted.');
    return this.primary.name;
  }

  /** Changes nothing any more; the processes are their set's to stop. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#change;
  }

  #add(node: PostgresNode): SupervisedProcess {
    const { processes, record, folders } = this.#options;
    const beforeSpawn = (): void => {
      node.spec.beforeSpawn?.();
      folders.keepLog(node);
      if (record.primary !== node.name) folders.fence(node);
    };
    const added = processes.add({ ...node.spec, beforeSpawn, onDeath: () => this.#onDeath(node) });
    this.#processes.set(node.name, added);
    return added;
  }

  async #startStandby(node: PostgresNode): Promise<void> {
    const { folders } = this.#options;
    if (folders.exists(node)) folders.follow(node, this.primary);
    else await folders.copyPrimary(node, this.primary);
    await this.#add(node).whenReady(READY_TIMEOUT_MS);
  }

  /** A standby is started again like any process. A primary is, when it alone has all that was acknowledged. */
  #onDeath(node: PostgresNode): boolean {
    if (this.#isStopped || node.name !== this.primary.name) return true;
    if (!this.#options.record.isSynchronous) return true;
    void this.#changePrimary(node, null);
    return false;
  }

  /** Changes come one after the other; never throws. */
  #changePrimary(from: PostgresNode, wanted: string | null): Promise<void> {
    this.#change = this.#change.then(async () => {
      if (this.#isStopped || from.name !== this.primary.name) return;
      await this.#replace(from, wanted).catch((error: unknown) => {
        this.#options.tell(`${from.name} could not be replaced: ${(error as Error).message}.`);
        if (from.name === this.primary.name) this.#processes.get(from.name)?.start();
      });
    });
    return this.#change;
  }

  async #replace(from: PostgresNode, wanted: string | null): Promise<void> {
    const { record, tell, onPrimary } = this.#options;
    // Dead, or asked to stop: then it has sent all that it had before it ends.
    await this.#processes.get(from.name)?.stop();
    const fenced = await fenceStandbys(
      this.#standbys.filter(({ name }) => !this.#returning.has(name)),
    );
    const successor = chooseSuccessor(fenced, wanted);
    if (successor === null) {
      await unfence(this.#standbys, from);
      this.#processes.get(from.name)?.start();
      tell(`No standby answers: ${from.name} is started again.`);
      return;
    }
    const followers = fenced.map(({ node }) => node).filter((node) => node !== successor);
    this.#forgetSync();
    this.#aloneSince = null;
    try {
      await promoteNode(successor, followers, record);
    } finally {
      // From the record on there is no way back.
      if (record.primary === successor.name) {
        onPrimary(successor);
        void this.#bringBack(from);
      }
    }
    tell(`${successor.name} is the primary now; ${from.name} comes back as its standby.`);
  }

  /** Makes a node that is stopped a standby of the primary: by rewinding it, else by copying anew. */
  async #bringBack(node: PostgresNode): Promise<void> {
    const { folders, tell } = this.#options;
    this.#returning.add(node.name);
    while (!this.#isStopped && node.name !== this.primary.name) {
      const { primary } = this;
      try {
        await folders.rewind(node, primary).catch((error: unknown) => {
          tell(`${node.name} is copied anew: ${(error as Error).message}.`);
          return folders.copyPrimary(node, primary);
        });
        // Another change may have come meanwhile: it would follow the wrong one.
        if (primary === this.primary) break;
      } catch (error) {
        tell(`${node.name} is no standby yet: ${(error as Error).message}.`);
        await pause(WATCH_MS);
      }
    }
    this.#returning.delete(node.name);
    if (!this.#isStopped) this.#processes.get(node.name)?.start();
  }

  #watchLater(): void {
    if (this.#isStopped || this.#standbys.length === 0) return;
    const watch = (): Promise<void> => this.#watchStandbys().finally(() => this.#watchLater());
    this.#timer = setTimeout(() => void (this.#change = this.#change.then(watch)), WATCH_MS);
  }

  /** Keeps the demand for a standby true to whether there is one, and sees who has lost the primary. Never throws. */
  async #watchStandbys(): Promise<void> {
    const { record, tell } = this.#options;
    if (this.#isStopped) return;
    await onNode(this.primary.adminUrl, async (client) => {
      const { names, flushedLsn, ownLsn } = await streamingStandbys(client);
      this.#seeStrayed(names);
      if (names.length > 0) {
        this.#aloneSince = null;
        if (record.isSynchronous) return;
        if (this.#askedSince === null) {
          await requireStandby(client, true);
          this.#askedSince = Date.now();
        } else if (this.#syncFrom === null) {
          if (Date.now() - this.#askedSince >= RELOAD_MS) this.#syncFrom = ownLsn;
        } else if (flushedLsn >= this.#syncFrom) {
          record.write({ synchronous: true });
        }
        return;
      }
      this.#forgetSync();
      this.#aloneSince ??= Date.now();
      if (!record.isSynchronous || Date.now() - this.#aloneSince < ALONE_MS) return;
      record.write({ synchronous: false });
      await requireStandby(client, false);
      tell('No standby is there: writes are acknowledged by the primary alone.');
    }).catch(() => undefined);
  }

  #forgetSync(): void {
    this.#askedSince = null;
    this.#syncFrom = null;
  }

  #seeStrayed(streaming: readonly string[]): void {
    for (const node of this.#standbys) {
      const isFine = streaming.includes(node.name) || this.#returning.has(node.name);
      if (isFine || this.#processes.get(node.name)?.state !== 'ready') {
        this.#strayedSince.delete(node.name);
        continue;
      }
      const since = this.#strayedSince.get(node.name) ?? Date.now();
      this.#strayedSince.set(node.name, since);
      if (Date.now() - since < STRAYED_MS) continue;
      this.#strayedSince.delete(node.name);
      this.#options.tell(`${node.name} has lost the primary and is made anew.`);
      this.#returning.add(node.name);
      void this.#processes
        .get(node.name)
        ?.stop()
        .then(() => this.#bringBack(node));
    }
  }
}
