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
  TokenLogprobs,
} from '../../contracts/engine.ts';
import type { PromptEncoder } from '../../contracts/prompt-encoder.ts';
import { sampleSeed } from '../../contracts/samples.ts';

export interface FakeModelOptions {
  /** The whole reply, or that of a seed; the sequence stops after it. */
  readonly reply: string | ((seed: number) => string);
  /** Awaited before each token: a test holds the generation where it wants it. */
  readonly beforeToken?: (index: number, sampleIndex: number) => Promise<void>;
}

interface Live {
  readonly request: SequenceRequest;
  readonly listener: SequenceListener;
  readonly sampleIndex: number;
}

class FakeEngine implements Engine {
  readonly #live = new Set<Live>();
  readonly #options: FakeModelOptions;
  readonly #held = new Map<string, (() => void)[]>();
  numSubmitted = 0;
  readonly requests: SequenceRequest[] = [];

  constructor(options: FakeModelOptions) {
    this.#options = options;
  }

  submit(request: SequenceRequest, listener: SequenceListener): void {
    this.numSubmitted += 1;
    this.requests.push(request);
    for (let sampleIndex = 0; sampleIndex < (request.numSamples ?? 1); sampleIndex += 1) {
      const live = { request, listener, sampleIndex };
      this.#live.add(live);
      void this.#run(live);
    }
  }

  /** Of the request that came last. */
  get lastSampling(): SamplingParams | null {
    return this.requests.at(-1)?.sampling ?? null;
  }

  abort(seqId: string, sampleIndex?: number): void {
    for (const live of this.#live) {
      if (live.request.seqId !== seqId || (sampleIndex ?? live.sampleIndex) !== live.sampleIndex)
        continue;
      this.#finish(live, 'abort');
      this.hold(seqId, false);
    }
  }

  hold(seqId: string, isHeld: boolean): void {
    if (isHeld) this.#held.set(seqId, this.#held.get(seqId) ?? []);
    else {
      for (const goOn of this.#held.get(seqId) ?? []) goOn();
      this.#held.delete(seqId);
    }
  }

  stats(): ReturnType<Engine['stats']> {
    const used = this.#live.size;
    return {
      waiting: 0,
      running: used,
      preempted: 0,
      held: this.#held.size,
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
    for (const live of this.#live) this.#finish(live, 'abort');
  }

  async #run(live: Live): Promise<void> {
    const { request, listener, sampleIndex } = live;
    const { reply, beforeToken } = this.#options;
    const seed = sampleSeed(request.sampling.seed, sampleIndex);
    const text = typeof reply === 'string' ? reply : reply(seed);
    const ids = [...text].map((each) => each.codePointAt(0) ?? 0);
    for (let index = request.outputTokenIds.length; index < ids.length; index += 1) {
      if (index >= request.maxTokens) return this.#finish(live, 'length');
      await (beforeToken?.(index, sampleIndex) ??
        new Promise<void>((resolve) => setImmediate(resolve)));
      const waiting = this.#held.get(request.seqId);
      if (waiting !== undefined) await new Promise<void>((goOn) => waiting.push(goOn));
      if (!this.#live.has(live)) return;
      const id = ids[index] ?? 0;
      listener.onTokens([id], logprobsOf(id, request.sampling), sampleIndex);
    }
    this.#finish(live, 'stop');
  }

  #finish(live: Live, reason: 'stop' | 'length' | 'abort'): void {
    if (this.#live.delete(live)) live.listener.onFinish({ reason }, 0, live.sampleIndex);
  }
}

/** Certain of its token; the alternatives are the ids behind it. */
function logprobsOf(
  id: number,
  { logprobs: count = null }: SamplingParams,
): TokenLogprobs[] | undefined {
  if (count === null) return undefined;
  const top = Array.from({ length: count }, (_, at) => ({ tokenId: id + at, logprob: -at }));
  return [{ logprob: 0, top }];
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

/** One id for a message, one for each of its characters. */
const encodePrompt = (messages: readonly ChatMessage[]): number[] =>
  messages.flatMap(({ content }) => [1, ...[...content].map((each) => each.codePointAt(0) ?? 0)]);

/** As a gateway has it beside the fake model. */
export const fakePromptEncoder: PromptEncoder = {
  encodePrompt,
  countTokens: async (text) => [...text].length,
};

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
    encodePrompt,
    encodeText: (text) => [...text].map((each) => each.codePointAt(0) ?? 0),
    tokenBytes: (id) => Buffer.from(String.fromCodePoint(id)),
    createTextStream: (stop) => new FakeTextStream(stop),
    close: () => engine.close(),
  };
}
