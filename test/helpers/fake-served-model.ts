// A served model without weights: one id per character code, the reply is a fixed text, tokens come one a tick. It lets
// the turn path be tested on real Temporal, Postgres and Valkey without an engine.
import type {
  ChatMessage,
  Engine,
  SequenceListener,
  SamplingParams,
  SequenceRequest,
  ServedModel,
  TextStream,
} from '../../contracts/engine.ts';

export interface FakeModelOptions {
  /** The whole reply; the sequence stops after it. */
  readonly reply: string;
  /** Awaited before each token: a test holds the generation where it wants it. */
  readonly beforeToken?: (index: number) => Promise<void>;
}

interface Live {
  readonly request: SequenceRequest;
  readonly listener: SequenceListener;
}

class FakeEngine implements Engine {
  readonly #live = new Map<string, Live>();
  readonly #options: FakeModelOptions;
  numSubmitted = 0;
  /** Of the request that came last. */
  lastSampling: SamplingParams | null = null;

  constructor(options: FakeModelOptions) {
    this.#options = options;
  }

  submit(request: SequenceRequest, listener: SequenceListener): void {
    this.numSubmitted += 1;
    this.lastSampling = request.sampling;
    this.#live.set(request.seqId, { request, listener });
    void this.#run(request, listener);
  }

  abort(seqId: string): void {
    const live = this.#live.get(seqId);
    if (live === undefined) return;
    this.#live.delete(seqId);
    live.listener.onFinish({ reason: 'abort' }, 0);
  }

  stats(): ReturnType<Engine['stats']> {
    const used = this.#live.size;
    return {
      waiting: 0,
      running: used,
      preempted: 0,
      kvBlocks: { free: 100 - used, used, cached: 0 },
      prefixCache: { queriedTokens: 0, hitTokens: 0 },
      speculation: { proposedTokens: 0, acceptedTokens: 0 },
      numSteps: 0,
      numPreemptions: 0,
      numSwappedBlocks: 0,
      lastTokenAtMs: null,
    };
  }

  async drain(): Promise<void> {}

  async close(): Promise<void> {
    for (const seqId of [...this.#live.keys()]) this.abort(seqId);
  }

  async #run(request: SequenceRequest, listener: SequenceListener): Promise<void> {
    const ids = [...this.#options.reply].map((each) => each.codePointAt(0) ?? 0);
    for (let index = request.outputTokenIds.length; index < ids.length; index += 1) {
      if (index >= request.maxTokens) return this.#finish(request, listener, 'length');
      await (this.#options.beforeToken?.(index) ??
        new Promise<void>((resolve) => setImmediate(resolve)));
      if (!this.#live.has(request.seqId)) return;
      listener.onTokens([ids[index] ?? 0]);
    }
    this.#finish(request, listener, 'stop');
  }

  #finish(request: SequenceRequest, listener: SequenceListener, reason: 'stop' | 'length'): void {
    if (this.#live.delete(request.seqId)) listener.onFinish({ reason }, 0);
  }
}

class FakeTextStream implements TextStream {
  readonly #stop: readonly string[];
  isStopped = false;

  constructor(stop: readonly string[]) {
    this.#stop = stop;
  }

  push(tokenId: number): string {
    const text = String.fromCodePoint(tokenId);
    this.isStopped ||= this.#stop.includes(text);
    return this.isStopped ? '' : text;
  }

  end(): string {
    return '';
  }
}

export function fakeServedModel(
  options: FakeModelOptions,
): ServedModel & { readonly engine: FakeEngine } {
  const engine = new FakeEngine(options);
  return {
    name: 'fake',
    contextLength: 2000,
    engine,
    continuation: 'tokens',
    stopTokenIds: [],
    encodePrompt: (messages: readonly ChatMessage[]) =>
      messages.flatMap(({ content }) => [
        1,
        ...[...content].map((each) => each.codePointAt(0) ?? 0),
      ]),
    createTextStream: (stop) => new FakeTextStream(stop),
    close: () => engine.close(),
  };
}
