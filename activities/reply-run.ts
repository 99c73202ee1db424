// The replies of one turn in the engine, from what an earlier attempt left of each to the end of all. A new turn's replies
// are one request and share the prompt's blocks. Begun ones go on as requests of their own, each at its next position with
// its own seed; a reply that was complete is left alone.
import type {
  SequenceFinish,
  SequenceListener,
  SequenceRequest,
  ServedModel,
  TextStream,
  TokenLogprobs,
} from '../contracts/engine.ts';
import { sampleSeed } from '../contracts/samples.ts';
import { loggedLogprobs } from './logged-logprobs.ts';
import type { PreparedPrompt } from './prompt-source.ts';
import type { RecalledLog, RecalledReply } from './recalled-log.ts';
import { TokenFlusher } from './token-flusher.ts';
import type { FlushSettings, TokenFlusherOptions } from './token-flusher.ts';

export interface ReplyRunOptions extends Pick<TokenFlusherOptions, 'append' | 'onLost'> {
  readonly model: ServedModel;
  readonly prompt: PreparedPrompt;
  /** Its replies grow with what is sampled; its entries are the caller's, who appends them. */
  readonly log: RecalledLog;
  /** Unique among the engine's live sequences, with whatever follows it. */
  readonly seqId: string;
  readonly priority: number;
  readonly flush: FlushSettings;
  /** Ends all replies. */
  readonly stop: AbortSignal;
  /** After a stop: another attempt goes on, so the held-back text is its own to deliver. */
  readonly isHandedOver: () => boolean;
  readonly onFirstToken: () => void;
  /** `log` has grown by sampled tokens. */
  readonly onTokens?: () => void;
}

export interface RepliesEnd {
  /** Of the reply that failed or was cut, if one was, else of the first. */
  readonly finish: SequenceFinish;
  /** Tokens that the prefix cache spared. */
  readonly numCachedTokens: number;
}

/** Resolves when all replies have ended and the log has them. @throws what the engine throws at a request it refuses */
export async function runReplies(options: ReplyRunOptions): Promise<RepliesEnd> {
  return new ReplyRun(options).run();
}

interface Reply {
  readonly index: number;
  readonly recalled: RecalledReply;
  readonly text: TextStream;
  finish: SequenceFinish | null;
  /** Ends this reply alone. */
  abort: () => void;
}

class ReplyRun {
  readonly #options: ReplyRunOptions;
  readonly #replies: readonly Reply[];
  readonly #flusher: TokenFlusher;
  readonly #seqIds: string[] = [];
  #numCachedTokens: number | null = null;
  #hasToken = false;
  #onEnd: () => void = () => undefined;

  constructor(options: ReplyRunOptions) {
    this.#options = options;
    const { model, prompt, log, flush, append, onLost } = options;
    const texts = log.replies.map(({ outputIds, textLength }) => {
      const stream = model.createTextStream(prompt.params.stop);
      const numCertain = outputIds.reduce((sum, id) => sum + stream.push(id).length, 0);
      // An attempt that came to the reply's end has delivered what was held back too, perhaps without living to say so.
      return { stream, textLength, numDelivered: textLength - numCertain };
    });
    this.#replies = texts.map(({ stream }, index) => ({
      index,
      recalled: log.replies[index] ?? { outputIds: [], textLength: 0, finish: null },
      text: stream,
      finish: null,
      abort: () => undefined,
    }));
    const nextEntry = log.entries.length + 1;
    this.#flusher = new TokenFlusher({ ...flush, texts, nextEntry, append, onLost });
  }

  async run(): Promise<RepliesEnd> {
    const { stop } = this.#options;
    for (const reply of this.#replies) {
      const { finish } = reply.recalled;
      // What an earlier attempt already said is not said again, only remembered.
      if (finish !== null) reply.finish = { reason: finish };
      else if (reply.text.isStopped) this.#end(reply, { reason: 'stop' });
      else if (stop.aborted) this.#end(reply, { reason: 'abort' });
    }
    await this.#generate();
    await this.#flusher.finish();
    const ends = this.#replies.map(({ finish }): SequenceFinish => finish ?? { reason: 'abort' });
    const worst = ends.toSorted((one, other) => rank(other) - rank(one))[0];
    return { finish: worst ?? { reason: 'abort' }, numCachedTokens: this.#numCachedTokens ?? 0 };
  }

  async #generate(): Promise<void> {
    const { stop } = this.#options;
    const abort = (): void => this.#abortAll();
    const ended = new Promise<void>((resolve) => (this.#onEnd = resolve));
    stop.addEventListener('abort', abort, { once: true });
    try {
      this.#submit();
      this.#endIfAll();
      await ended;
    } catch (error) {
      abort();
      await this.#flusher.finish();
      throw error;
    } finally {
      stop.removeEventListener('abort', abort);
    }
  }

  #submit(): void {
    const { seqId, log } = this.#options;
    const open = this.#replies.filter(({ finish }) => finish === null);
    const isBegun = log.replies.some(({ outputIds }) => outputIds.length > 0);
    if (!isBegun && open.length === this.#replies.length) {
      this.#request(seqId, open, { numSamples: open.length });
      return;
    }
    for (const reply of open) {
      // A refusal of one ends the others, and then there is nothing more to ask.
      if (reply.finish !== null) continue;
      const { sampling } = this.#options.prompt;
      const outputTokenIds = reply.recalled.outputIds.slice();
      const seed = sampleSeed(sampling.seed, reply.index);
      const own = { outputTokenIds, sampling: { ...sampling, seed } };
      this.#request(open.length === 1 ? seqId : `${seqId}/${reply.index}`, [reply], own);
    }
  }

  #request(seqId: string, replies: readonly Reply[], own: Partial<SequenceRequest>): void {
    const { model, prompt, priority } = this.#options;
    const request: SequenceRequest = {
      seqId,
      promptTokenIds: prompt.tokenIds,
      outputTokenIds: [],
      maxTokens: prompt.maxTokens,
      sampling: prompt.sampling,
      stopTokenIds: model.stopTokenIds,
      priority,
      cacheScope: prompt.cacheScope,
      ...own,
    };
    for (const [at, reply] of replies.entries())
      reply.abort = () => model.engine.abort(seqId, replies.length === 1 ? undefined : at);
    this.#seqIds.push(seqId);
    model.engine.submit(request, this.#listener(replies));
  }

  #listener(replies: readonly Reply[]): SequenceListener {
    return {
      onTokens: (ids, logprobs, at = 0) => {
        const reply = replies[at];
        if (reply !== undefined && !reply.text.isStopped) this.#take(reply, ids, logprobs);
      },
      onFinish: (finish, numCachedTokens, at = 0) => {
        this.#numCachedTokens ??= numCachedTokens;
        const reply = replies[at];
        if (reply !== undefined) this.#end(reply, finish);
        this.#endIfAll();
      },
    };
  }

  #take(reply: Reply, ids: readonly number[], logprobs: readonly TokenLogprobs[] = []): void {
    if (!this.#hasToken) this.#options.onFirstToken();
    this.#hasToken = true;
    this.#deliver(reply, ids, logprobs);
    this.#options.onTokens?.();
  }

  #deliver(reply: Reply, ids: readonly number[], logprobs: readonly TokenLogprobs[]): void {
    for (const [at, id] of ids.entries()) {
      reply.recalled.outputIds.push(id);
      const own = logprobs
        .slice(at, at + 1)
        .map((each) => loggedLogprobs(this.#options.model, id, each));
      if (!this.#flusher.push(reply.index, [id], own)) continue;
      reply.abort();
      return;
    }
  }

  #end(reply: Reply, finish: SequenceFinish): void {
    reply.finish = reply.text.isStopped ? { reason: 'stop' } : finish;
    const { reason } = reply.finish;
    if (reason === 'stop' || reason === 'length') this.#flusher.end(reply.index, reason);
    else if (reason === 'abort' && !this.#options.isHandedOver())
      this.#flusher.end(reply.index, null);
    // An engine that fails one fails the turn's attempt: the next one takes up all of them.
    if (reason === 'error' || reason === 'refused') this.#abortAll();
  }

  #endIfAll(): void {
    if (this.#replies.every(({ finish }) => finish !== null)) this.#onEnd();
  }

  #abortAll(): void {
    for (const seqId of this.#seqIds) this.#options.model.engine.abort(seqId);
  }
}

/** Which end is the attempt's: a failure before a cut, a cut before an end. */
function rank({ reason }: SequenceFinish): number {
  if (reason === 'error' || reason === 'refused') return 2;
  return reason === 'abort' ? 1 : 0;
}
