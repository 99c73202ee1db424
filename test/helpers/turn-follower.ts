// A reader that does what a good client does: takes a turn with an Idempotency-Key, and comes back by the last id, at any
// gateway, until the turn is done. It remembers when what came.
import { randomUUID } from 'node:crypto';
import { resumeTurn, takeTurn, textOf } from './turn-client.ts';
import type { Caller, ReceivedEvent, TurnStream } from './turn-client.ts';
import { waitFor } from './wait-for.ts';

export interface FollowedTurn {
  readonly conversationId: string;
  /** Every event once, in order of arrival, over all connections. */
  readonly events: readonly ReceivedEvent[];
  /** Resolves with the first event that fulfils `isIt`; null when the turn was done before. */
  until(isIt: (event: ReceivedEvent) => boolean): Promise<ReceivedEvent | null>;
  /** Resolves when `done` has come. @throws Error when it does not come in time */
  readonly done: Promise<void>;
  readonly turnId: string;
  readonly text: string;
  /** Connections that were opened, the first one included. */
  readonly numConnections: number;
  /** Longest wait between two events of the stream, ms, from the first token to `done`. */
  readonly longestPauseMs: number;
  /** Statuses other than 200 that were met. */
  readonly refusals: readonly number[];
}

const DONE_TIMEOUT_MS = 120_000;
const RECONNECT_MS = 50;

class Follower implements FollowedTurn {
  readonly conversationId: string;
  readonly #callers: () => readonly Caller[];
  readonly #body: object;
  readonly #key = randomUUID();
  readonly #events: ReceivedEvent[] = [];
  readonly #times: number[] = [];
  readonly refusals: number[] = [];
  numConnections = 0;
  readonly done: Promise<void>;

  constructor(callers: () => readonly Caller[], conversationId: string, body: object) {
    this.#callers = callers;
    this.conversationId = conversationId;
    this.#body = body;
    this.done = this.#follow();
    this.done.catch(() => undefined); // Whoever awaits it hears of it.
  }

  get events(): readonly ReceivedEvent[] {
    return this.#events;
  }

  get turnId(): string {
    const id = this.#events[0]?.data['turn_id'];
    return typeof id === 'string' ? id : '';
  }

  get text(): string {
    return textOf(this.#events);
  }

  get longestPauseMs(): number {
    const first = this.#events.findIndex(({ event }) => event === 'token');
    const times = this.#times.slice(Math.max(0, first));
    return Math.max(0, ...times.slice(1).map((at, index) => at - (times[index] ?? at)));
  }

  async until(isIt: (event: ReceivedEvent) => boolean): Promise<ReceivedEvent | null> {
    return waitFor(
      'the awaited event has come',
      () => {
        const found = this.#events.find(isIt);
        if (found !== undefined) return { found };
        return this.#isDone() ? { found: null } : null;
      },
      DONE_TIMEOUT_MS,
    ).then(({ found }) => found);
  }

  async #follow(): Promise<void> {
    const deadline = Date.now() + DONE_TIMEOUT_MS;
    for (let attempt = 0; !this.#isDone(); attempt += 1) {
      if (Date.now() > deadline)
        throw new Error(
          `turn ${this.turnId} was not done in time; refusals ${this.refusals.join()}`,
        );
      if (attempt > 0) await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
      const callers = this.#gateways();
      const caller = callers[attempt % callers.length];
      if (caller !== undefined) await this.#readFrom(caller).catch(() => undefined);
    }
  }

  /** None while the system is not there and is started anew. */
  #gateways(): readonly Caller[] {
    try {
      return this.#callers();
    } catch {
      return [];
    }
  }

  async #readFrom(caller: Caller): Promise<void> {
    const stream = await this.#connect(caller);
    this.numConnections += 1;
    if (stream.status !== 200) this.refusals.push(stream.status);
    await stream.until((event) => {
      // A repeat of the POST gives the stream from its beginning.
      if (event.id <= (this.#events.at(-1)?.id ?? 0)) return false;
      this.#events.push(event);
      this.#times.push(performance.now());
      return event.event === 'done';
    });
    stream.close();
  }

  #connect(caller: Caller): Promise<TurnStream> {
    const last = this.#events.at(-1)?.id;
    if (last !== undefined) return resumeTurn(caller, this.conversationId, this.turnId, last);
    const headers = { ...caller.headers, 'idempotency-key': this.#key };
    return takeTurn({ ...caller, headers }, this.conversationId, this.#body);
  }

  #isDone(): boolean {
    return this.#events.some(({ event }) => event === 'done');
  }
}

/** @param callers asked anew at each connection; the first one takes the turn */
export function followTurn(
  callers: () => readonly Caller[],
  conversationId: string,
  body: object,
): FollowedTurn {
  return new Follower(callers, conversationId, body);
}
