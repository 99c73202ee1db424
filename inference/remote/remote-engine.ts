// The engine's contract over a remote server: a bounded number of requests at once, the rest waiting here in order of
// priority. Each reply is a request of its own; closing it is the abort. It knows no server's language: see RemoteClient.
import type {
  Engine,
  EngineStats,
  SamplingParams,
  SequenceFinish,
  SequenceListener,
  SequenceRequest,
} from '../../contracts/engine.ts';
import { AppError, codeOf } from '../../contracts/errors.ts';
import { MAX_SAMPLES, sampleSeed } from '../../contracts/samples.ts';
import { checkRequest } from '../request-check.ts';

export interface RemoteTokens {
  /** Sampled ids in order; none in a chunk that only counts or ends. */
  readonly tokenIds: readonly number[];
  readonly finish: 'stop' | 'length' | null;
  readonly usage: { readonly promptTokens: number; readonly cachedTokens: number } | null;
}

/** Streams one sequence. Ends, or throws AppError, whose code decides: OVERLOADED before the first tokens is asked again. */
export type RemoteClient = (
  request: SequenceRequest,
  signal: AbortSignal,
) => AsyncIterable<RemoteTokens>;

export interface RemoteEngineOptions {
  readonly client: RemoteClient;
  readonly maxNumSeqs: number;
  readonly contextLength: number;
  readonly vocabSize: number;
  /** The first sampling parameter that this server does not know; null when it knows all. */
  readonly unsupportedParam: (sampling: SamplingParams) => string | null;
  /** How long a sequence asks again of a server that is away or busy. */
  readonly unavailableMs: number;
  /** A listener threw: the engine goes on, the caller has a bug. */
  readonly onListenerError?: ((error: unknown) => void) | undefined;
}

/** Asked again after 0.1 s, 0.2 s, … 3.2 s, or as long as the server says. */
const FIRST_PAUSE_MS = 100;
const MAX_PAUSE_MS = 3200;

interface Live {
  /** For this reply alone, with its own seed. */
  readonly request: SequenceRequest;
  readonly sampleIndex: number;
  readonly listener: SequenceListener;
  readonly arrival: number;
  readonly connection: AbortController;
  /** waiting → running ⇄ pausing → finished */
  state: 'waiting' | 'running' | 'pausing' | 'finished';
  numOutputTokens: number;
  numCachedTokens: number;
}

export class RemoteEngine implements Engine {
  readonly #options: RemoteEngineOptions;
  readonly #sequences = new Set<Live>();
  readonly #idleWaiters: (() => void)[] = [];
  #numActive = 0;
  #isDraining = false;
  #isKicked = false;
  #arrivals = 0;
  #numSteps = 0;
  #queriedTokens = 0;
  #hitTokens = 0;
  #lastTokenAtMs: number | null = null;

  constructor(options: RemoteEngineOptions) {
    this.#options = options;
  }

  /** See Engine. @throws also OVERLOADED once the engine drains */
  submit(request: SequenceRequest, listener: SequenceListener): void {
    if (this.#isDraining) throw new AppError('OVERLOADED', { message: 'the engine is stopping' });
    if (this.#repliesOf(request.seqId).length > 0) {
      throw new AppError('INVALID_REQUEST', {
        message: 'a sequence with this id is live',
        param: 'seqId',
      });
    }
    const { vocabSize, contextLength } = this.#options;
    // The server has the blocks, and seats for as many replies as there are: they wait for ours one by one.
    const bounds = { poolTokens: Infinity, blockSize: 1, maxNumSeqs: MAX_SAMPLES };
    checkRequest(request, { vocabSize, contextLength, ...bounds });
    const param =
      request.numBeams === undefined
        ? this.#options.unsupportedParam(request.sampling)
        : 'numBeams';
    if (param !== null) {
      throw new AppError('INVALID_REQUEST', {
        message: `this pool’s server does not know ${param}`,
        param,
      });
    }
    // A request of its own for each reply: it ends, is cut and goes on by itself, and servers share the prompt by their caches.
    const { numSamples = 1, sampling } = request;
    for (let sampleIndex = 0; sampleIndex < numSamples; sampleIndex += 1) {
      const seed = sampleSeed(sampling.seed, sampleIndex);
      this.#sequences.add({
        request: { ...request, numSamples: 1, sampling: { ...sampling, seed } },
        sampleIndex,
        listener,
        arrival: this.#arrivals++,
        connection: new AbortController(),
        state: 'waiting',
        numOutputTokens: request.outputTokenIds.length,
        numCachedTokens: 0,
      });
    }
    this.#kick();
  }

  abort(seqId: string, sampleIndex?: number): void {
    for (const live of this.#repliesOf(seqId)) {
      if (sampleIndex === undefined || sampleIndex === live.sampleIndex)
        this.#finish(live, { reason: 'abort' });
    }
  }

  /** A sequence that waits for a server to come back counts as waiting. There are no blocks: the server has them. */
  stats(): EngineStats {
    const all = [...this.#sequences];
    const running = all.filter(({ state }) => state === 'running').length;
    return {
      waiting: all.length - running,
      running,
      preempted: 0,
      held: 0,
      kvBlocks: { free: 0, used: 0, cached: 0 },
      prefixCache: { queriedTokens: this.#queriedTokens, hitTokens: this.#hitTokens },
      speculation: { proposedTokens: 0, acceptedTokens: 0 },
      numSteps: this.#numSteps,
      numPreemptions: 0,
      numSwappedBlocks: 0,
      lastTokenAtMs: this.#lastTokenAtMs,
    };
  }

  async drain(): Promise<void> {
    this.#isDraining = true;
    while (this.#sequences.size > 0)
      await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
  }

  async close(): Promise<void> {
    this.#isDraining = true;
    for (const live of this.#sequences) this.#finish(live, { reason: 'abort' });
    await this.drain();
  }

  /** In a microtask, so that of sequences submitted together the first in priority goes first. */
  #kick(): void {
    if (this.#isKicked) return;
    this.#isKicked = true;
    queueMicrotask(() => {
      this.#isKicked = false;
      while (this.#numActive < this.#options.maxNumSeqs) {
        const next = this.#nextWaiting();
        if (next === null) return;
        this.#numActive += 1;
        next.state = 'running';
        void this.#run(next);
      }
    });
  }

  #repliesOf(seqId: string): Live[] {
    return [...this.#sequences].filter(({ request }) => request.seqId === seqId);
  }

  #nextWaiting(): Live | null {
    let first: Live | null = null;
    for (const live of this.#sequences) {
      if (live.state === 'waiting' && (first === null || isBefore(live, first))) first = live;
    }
    return first;
  }

  /** Never rejects: whatever happens to a sequence is told to its listener. */
  async #run(live: Live): Promise<void> {
    const giveUpAt = Date.now() + this.#options.unavailableMs;
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS)) {
      const numBefore = live.numOutputTokens;
      try {
        live.state = 'running';
        this.#finish(live, await this.#relay(live));
        return;
      } catch (error) {
        if (live.connection.signal.aborted) return;
        const mayAskAgain = codeOf(error) === 'OVERLOADED' && live.numOutputTokens === numBefore;
        const toldMs = ((error as AppError).retryAfterSeconds ?? 0) * 1000;
        const waitMs = Math.max(pauseMs, toldMs);
        if (!mayAskAgain || Date.now() + waitMs > giveUpAt) {
          this.#finish(live, finishBy(error));
          return;
        }
        live.state = 'pausing';
        await pause(waitMs, live.connection.signal);
        if (live.connection.signal.aborted) return;
      }
    }
  }

  /** Passes tokens on until the sequence ends. @throws AppError as RemoteClient, and GENERATION_FAILED when no end came */
  async #relay(live: Live): Promise<SequenceFinish> {
    const { request, connection } = live;
    if (this.#isAtLength(live)) return { reason: 'length' };
    let finish: SequenceFinish | null = null;
    try {
      for await (const chunk of this.#options.client(request, connection.signal)) {
        if (connection.signal.aborted) return { reason: 'abort' };
        this.#numSteps += 1;
        if (chunk.usage !== null) this.#count(live, chunk.usage);
        // At its length the server ends by itself and then tells the usage; one that does not is not waited for.
        if (finish !== null && chunk.tokenIds.length > 0) break;
        finish ??= this.#take(live, chunk);
        if (finish?.reason === 'stop' && chunk.finish === null) break;
      }
    } catch (error) {
      if (finish === null) throw error;
    }
    if (finish === null)
      throw new AppError('GENERATION_FAILED', { message: 'the stream ended without an end' });
    return finish;
  }

  /** Tells the listener what is new; returns the end if this is it. */
  #take(live: Live, { tokenIds, finish }: RemoteTokens): SequenceFinish | null {
    const { stopTokenIds, maxTokens } = live.request;
    const room = maxTokens - live.numOutputTokens;
    const stopAt = tokenIds.findIndex((id) => stopTokenIds.includes(id));
    const isStopped = stopAt >= 0 && stopAt <= room;
    const fresh = tokenIds.slice(0, isStopped ? stopAt : room);
    if (fresh.length > 0) {
      live.numOutputTokens += fresh.length;
      this.#lastTokenAtMs = Date.now();
      this.#tell(() => live.listener.onTokens(fresh, undefined, live.sampleIndex));
    }
    if (isStopped) return { reason: 'stop' };
    if (finish !== null) return { reason: finish };
    return this.#isAtLength(live) ? { reason: 'length' } : null;
  }

  #isAtLength({ request, numOutputTokens }: Live): boolean {
    const length = request.promptTokenIds.length + numOutputTokens;
    return numOutputTokens >= request.maxTokens || length >= this.#options.contextLength;
  }

  #count(live: Live, { promptTokens, cachedTokens }: NonNullable<RemoteTokens['usage']>): void {
    this.#queriedTokens += promptTokens;
    this.#hitTokens += cachedTokens;
    live.numCachedTokens = cachedTokens;
  }

  /** Ends a sequence once, closes its connection, then tells its listener. */
  #finish(live: Live, finish: SequenceFinish): void {
    if (live.state === 'finished') return;
    if (live.state !== 'waiting') this.#numActive -= 1;
    live.state = 'finished';
    this.#sequences.delete(live);
    live.connection.abort();
    this.#tell(() => live.listener.onFinish(finish, live.numCachedTokens, live.sampleIndex));
    if (this.#sequences.size === 0) for (const wake of this.#idleWaiters.splice(0)) wake();
    this.#kick();
  }

  #tell(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#options.onListenerError?.(error);
    }
  }
}

function isBefore(one: Live, other: Live): boolean {
  const difference = one.request.priority - other.request.priority;
  return difference === 0 ? one.arrival < other.arrival : difference < 0;
}

/** A server that says no is not an engine that broke. */
function finishBy(error: unknown): SequenceFinish {
  if (error instanceof AppError && error.code !== 'GENERATION_FAILED')
    return { reason: 'refused', error };
  return { reason: 'error', error: error instanceof Error ? error : new Error(String(error)) };
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(end, ms);
    function end(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    }
    signal.addEventListener('abort', end, { once: true });
  });
}
