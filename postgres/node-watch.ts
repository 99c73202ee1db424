// Watches one node over a connection of its own: the newest look at it, and none as soon as it does not answer in time.
import type { Client } from 'pg';
import { lookAtNode } from './node-look.ts';
import type { NodeView } from './node-look.ts';
import { UnnamedClient } from './walled-client.ts';

export interface TimedView extends NodeView {
  /** When the look began: the view is of then or later. Milliseconds of performance.now(). */
  readonly askedAt: number;
  readonly tookMs: number;
}

export class NodeWatch {
  readonly #url: string;
  readonly #answerMs: number;
  readonly #onView: () => void;
  #client: Client | null = null;
  /** Over the present connection. */
  #seen: NodeView | null = null;
  #view: TimedView | null = null;
  #running: Promise<TimedView | null> | null = null;
  #next: Promise<TimedView | null> | null = null;
  #isEnded = false;

  /**
   * @param answerMs a node that takes longer is gone until it answers again
   * @param onView called after each look, whatever came of it, and when the connection breaks
   */
  constructor(url: string, answerMs: number, onView: () => void) {
    this.#url = url;
    this.#answerMs = answerMs;
    this.#onView = onView;
  }

  /** Null while the node does not answer. */
  get view(): TimedView | null {
    return this.#view;
  }

  /** A look that begins after this call; those who ask while one is under way share the next. Never throws. */
  look(): Promise<TimedView | null> {
    if (this.#running === null) return this.#begin();
    this.#next ??= this.#running.then(() => {
      this.#next = null;
      return this.#begin();
    });
    return this.#next;
  }

  /** A look unless one is under way. */
  poll(): void {
    if (this.#running === null) void this.#begin();
  }

  end(): void {
    this.#isEnded = true;
    this.#drop();
  }

  #begin(): Promise<TimedView | null> {
    this.#running = this.#look().finally(() => (this.#running = null));
    return this.#running;
  }

  async #look(): Promise<TimedView | null> {
    const askedAt = performance.now();
    try {
      const client = await this.#connected();
      const view = await lookAtNode(client, this.#seen);
      this.#seen = view;
      this.#view = { ...view, askedAt, tookMs: performance.now() - askedAt };
    } catch {
      this.#drop();
    }
    if (!this.#isEnded) this.#onView();
    return this.#view;
  }

  async #connected(): Promise<Client> {
    if (this.#client !== null) return this.#client;
    if (this.#isEnded) throw new Error('The watch has ended.');
    // Unnamed: there may be a PgBouncer between.
    const client = new UnnamedClient({
      connectionString: this.#url,
      connectionTimeoutMillis: this.#answerMs,
      query_timeout: this.#answerMs,
      application_name: 'colloquy-watch',
    });
    // A node that stops is noticed at once, not with the next look.
    const onLost = (): void => {
      if (this.#client !== client) return;
      this.#drop();
      this.#onView();
    };
    client.on('error', onLost);
    client.on('end', onLost);
    this.#client = client;
    await client.connect();
    return client;
  }

  #drop(): void {
    const client = this.#client;
    this.#client = null;
    this.#seen = null;
    this.#view = null;
    // Its server may hang: nobody waits for the goodbye.
    client?.end().catch(() => undefined);
  }
}
