// A TCP proxy that makes the network bad on demand, between a process and a service that it finds by its URL. The kept
// program for this, toxiproxy, is a server of its own to be built with Go, and no package has it; this is what is used of it.
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';

export type NetworkFault =
  /** Each piece comes later by `ms` and up to `jitterMs` more; the order stays. */
  | { readonly kind: 'latency'; readonly ms: number; readonly jitterMs: number }
  | { readonly kind: 'narrow'; readonly bytesPerSecond: number }
  /** Nothing passes; when it heals, everything that was held back arrives. */
  | { readonly kind: 'stall' }
  /** What is sent is lost and nobody is told. When it heals, the connections that met it are reset. */
  | { readonly kind: 'half-open' };

type Piece = Buffer | 'end' | 'reset';

export class FaultProxy {
  readonly #server: Server;
  readonly #links = new Set<Link>();
  #fault: NetworkFault | null = null;

  private constructor(upstream: { host: string; port: number }) {
    this.#server = createServer({ allowHalfOpen: true }, (client) => {
      const link = new Link(client, upstream, () => this.#links.delete(link));
      this.#links.add(link);
      link.setFault(this.#fault);
      link.open();
    });
  }

  /** Listens on a free port of the loopback. */
  static async listen(upstream: { host: string; port: number }): Promise<FaultProxy> {
    const proxy = new FaultProxy(upstream);
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once('error', reject);
      proxy.#server.listen(0, '127.0.0.1', resolve);
    });
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get numConnections(): number {
    return this.#links.size;
  }

  /** From now on, for connections that are open and those to come; null heals. */
  setFault(fault: NetworkFault | null): void {
    this.#fault = fault;
    for (const link of this.#links) link.setFault(fault);
  }

  /** Resets every open connection on both sides. */
  reset(): void {
    for (const link of [...this.#links]) link.reset();
  }

  async close(): Promise<void> {
    this.reset();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** One connection of a client and the one to the service that stands for it. */
class Link {
  readonly #client: Socket;
  readonly #upstream: { host: string; port: number };
  readonly #onClose: () => void;
  #service: Socket | null = null;
  #wires: Wire[] = [];
  #fault: NetworkFault | null = null;
  /** Something was lost: both ends believe in a connection that there is not. */
  #isDead = false;

  constructor(client: Socket, upstream: { host: string; port: number }, onClose: () => void) {
    this.#client = client;
    this.#upstream = upstream;
    this.#onClose = onClose;
    client.setNoDelay(true);
  }

  open(): void {
    const service = connect({ ...this.#upstream, noDelay: true, allowHalfOpen: true });
    this.#service = service;
    this.#wires = [new Wire(this.#client, service), new Wire(service, this.#client)];
    for (const wire of this.#wires) wire.setFault(this.#fault);
    for (const socket of [this.#client, service])
      socket.on('close', () => {
        if (this.#client.destroyed && service.destroyed) this.#onClose();
      });
  }

  setFault(fault: NetworkFault | null): void {
    this.#fault = fault;
    if (fault?.kind === 'half-open') this.#isDead = true;
    else if (this.#isDead) this.reset();
    for (const wire of this.#wires) wire.setFault(fault);
  }

  reset(): void {
    for (const socket of [this.#client, this.#service]) if (socket !== null) cut(socket);
    if (this.#service === null) this.#onClose();
  }
}

/** More waiting than this and the sender is made to wait. */
const MAX_HELD_BYTES = 1024 * 1024;

/** One direction: pieces in order, each when it is due. */
class Wire {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #held: { piece: Piece; due: number }[] = [];
  #heldBytes = 0;
  #lastDue = 0;
  #fault: NetworkFault | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(from: Socket, to: Socket) {
    this.#from = from;
    this.#to = to;
    from.on('data', (piece: Buffer) => this.#hold(piece));
    from.on('end', () => this.#hold('end'));
    from.on('error', () => this.#hold('reset'));
    // An orderly close has said 'end' before, and the other direction may still have something to say.
    from.on('close', () => this.#hold('end'));
    to.on('drain', () => from.resume());
    to.on('close', () => {
      if (this.#timer !== null) clearTimeout(this.#timer);
      this.#held.length = 0;
    });
  }

  setFault(fault: NetworkFault | null): void {
    this.#fault = fault;
    const now = performance.now();
    for (const each of this.#held) each.due = Math.min(each.due, now);
    this.#lastDue = now;
    this.#deliver();
  }

  #hold(piece: Piece): void {
    if (this.#fault?.kind === 'half-open') return;
    const now = performance.now();
    const size = typeof piece === 'string' ? 0 : piece.length;
    const due = this.#dueAt(now, size);
    this.#lastDue = due;
    this.#heldBytes += size;
    this.#held.push({ piece, due });
    if (this.#heldBytes > MAX_HELD_BYTES) this.#from.pause();
    this.#deliver();
  }

  #dueAt(now: number, size: number): number {
    const fault = this.#fault;
    const earliest = Math.max(now, this.#lastDue);
    if (fault?.kind === 'latency')
      return Math.max(earliest, now + fault.ms + Math.random() * fault.jitterMs);
    if (fault?.kind === 'narrow') return earliest + (size * 1000) / fault.bytesPerSecond;
    return earliest;
  }

  #deliver(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#fault?.kind === 'stall') return;
    for (let next = this.#held[0]; next !== undefined; next = this.#held[0]) {
      const wait = next.due - performance.now();
      if (wait > 0) {
        this.#timer = setTimeout(() => this.#deliver(), Math.ceil(wait));
        return;
      }
      this.#held.shift();
      this.#pass(next.piece);
    }
    if (this.#from.isPaused() && !this.#to.writableNeedDrain) this.#from.resume();
  }

  #pass(piece: Piece): void {
    if (this.#to.destroyed) return;
    if (piece === 'reset') cut(this.#to);
    else if (piece === 'end') this.#to.end();
    else {
      this.#heldBytes -= piece.length;
      if (!this.#to.write(piece)) this.#from.pause();
    }
  }
}

/** A reset; a plain close where Node has none to give: half closed or half open, its handle would be left behind. */
function cut(socket: Socket): void {
  if (socket.destroyed) return;
  if (socket.connecting || socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}
