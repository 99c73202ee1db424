// The engine's contract and the model around it, as the generate activity sees them. Token ids in, token ids out: an
// engine knows no Redis, Postgres, Temporal, HTTP or conversation. Design §5.
import type { AppError } from './errors.ts';

/**
 * How the next token is chosen. Stages in the order of vLLM's sampler: logit bias, choices → repetition, frequency, presence
 * penalty → temperature → min-p → top-k → top-p → draw. Each limit counts what the one before it left. `temperature` 0
 * (below 1e-5) is greedy: the best token after the penalties. Random numbers are a function of (seed, position) only.
 * What may be left out is off then.
 */
export interface SamplingParams {
  readonly temperature: number;
  /** Nucleus mass in (0, 1]; 1 = off. Source: arXiv 1904.09751. */
  readonly topP: number;
  /** Number of candidates kept; 0 = all. */
  readonly topK: number;
  /** Unsigned 32-bit. */
  readonly seed: number;
  /** Least probability of a candidate, as a share of the best one's, 0 … 1; 0 = off. Source: arXiv 2407.01082. */
  readonly minP?: number | undefined;
  /**
   * In (0, 2]; 1 = off. Divides the positive and multiplies the other logits of tokens in prompt or output.
   * Source: CTRL, arXiv 1909.05858 §4.1.
   */
  readonly repetitionPenalty?: number | undefined;
  /** −2 … 2, 0 = off: subtracted from a token's logit for each time it is in the output. Source: OpenAI's API reference. */
  readonly frequencyPenalty?: number | undefined;
  /** −2 … 2, 0 = off: subtracted once from the logit of each token in the output. Source: as above. */
  readonly presencePenalty?: number | undefined;
  /** At most 300 [id, −100 … 100], ids distinct: added to the id's logit. */
  readonly logitBias?: readonly (readonly [tokenId: number, bias: number])[] | undefined;
  /**
   * At most 1000 lists of token ids, none empty or with a stop token: the reply is exactly one of them, and ends with `stop`
   * behind it. Known elsewhere as guided choice. Needs a repetition penalty that is off and a temperature of at most 2.
   */
  readonly choices?: readonly (readonly number[])[] | undefined;
  /** Asks for each output token's logprob and those of this many alternatives, 0 … 20. */
  readonly logprobs?: number | null | undefined;
}

/** Natural logarithms of probabilities of the model's own distribution, before any parameter above changes it. */
export interface TokenLogprobs {
  readonly logprob: number;
  /** The most likely tokens, best first, as many as were asked for; the token itself may be among them. */
  readonly top: readonly { readonly tokenId: number; readonly logprob: number }[];
}

/** Who may reuse the computed beginning of a sequence. */
export interface CacheScope {
  /** Only sequences of the same tenant find each other's blocks: a hit is faster, and that tells of what others asked. */
  readonly tenant: string;
  /** The first tokens that every tenant sends alike (the operator's system prompt): shared by all. */
  readonly numSharedTokens: number;
}

export interface SequenceRequest {
  /** Unique among live sequences. */
  readonly seqId: string;
  readonly promptTokenIds: readonly number[];
  /** Tokens an earlier attempt already emitted: prefilled behind the prompt, never emitted again. */
  readonly outputTokenIds: readonly number[];
  /**
   * Replies to make, 1 when left out: they share the prompt's blocks, copied on write, and reply i draws with seed + i.
   * More than 1 needs empty `outputTokenIds`.
   */
  readonly numSamples?: number | undefined;
  /**
   * Searches so many beams instead of drawing: the replies are the `numSamples` best, told in one piece at their end. See
   * inference/beam-search.ts for what it decides by. Needs empty `outputTokenIds` and a sampling that is greedy and changes
   * no logit; at most 20 with the number of stop tokens.
   */
  readonly numBeams?: number | undefined;
  /** −10 … 10, 1 when left out: a search's sums are divided by length to this power, so larger ones favour longer replies. */
  readonly lengthPenalty?: number | undefined;
  /** Most output tokens in all, `outputTokenIds` included; of each reply. */
  readonly maxTokens: number;
  readonly sampling: SamplingParams;
  /** Ids that end the sequence with `stop`; the ending id is not emitted. */
  readonly stopTokenIds: readonly number[];
  /** Smaller runs first, as long as the other has not waited some seconds more; equal values first come, first served. */
  readonly priority: number;
  /** Null: nothing of it is looked up or kept. */
  readonly cacheScope: CacheScope | null;
}

/**
 * `abort` is the answer to `abort()`. `error`: the engine broke, another one may go on. `refused`: the engine works and
 * would not serve this sequence; the error's code says whether a retry can help.
 */
export type SequenceFinish =
  | { readonly reason: 'stop' | 'length' | 'abort' }
  | { readonly reason: 'error'; readonly error: Error }
  | { readonly reason: 'refused'; readonly error: AppError };

/**
 * Called by the engine's step loop: must return at once, must not throw, must not await. `sampleIndex` tells replies of one
 * request apart; left out it is 0.
 */
export interface SequenceListener {
  /** Newly sampled ids in order; their logprobs beside them when, and only when, the request asked. */
  onTokens(
    tokenIds: readonly number[],
    logprobs?: readonly TokenLogprobs[],
    sampleIndex?: number,
  ): void;
  /**
   * Exactly once for each reply, after its last `onTokens`; its blocks are free by then.
   * @param numCachedTokens tokens that were not computed because the prefix cache had them when it was admitted
   */
  onFinish(finish: SequenceFinish, numCachedTokens: number, sampleIndex?: number): void;
}

export interface EngineStats {
  readonly waiting: number;
  readonly running: number;
  readonly preempted: number;
  /** Held back by their caller; they have no blocks. */
  readonly held: number;
  /** Blocks by state; they sum to the pool. `used` are held by sequences, `cached` by none but still known. */
  readonly kvBlocks: { readonly free: number; readonly used: number; readonly cached: number };
  /** Tokens of all sequences admitted so far, and how many of them the prefix cache had. */
  readonly prefixCache: { readonly queriedTokens: number; readonly hitTokens: number };
  /** Tokens guessed ahead so far, and those the model agreed with. */
  readonly speculation: {
    readonly proposedTokens: number;
    readonly acceptedTokens: number;
    /** Those of the draft model among them, and the blocks of its own pool; left out without one. */
    readonly draftModel?: {
      readonly proposedTokens: number;
      readonly acceptedTokens: number;
      readonly kvBlocks: EngineStats['kvBlocks'];
    };
  };
  readonly numSteps: number;
  readonly numPreemptions: number;
  /** Blocks of preempted sequences that wait beside the pool. */
  readonly numSwappedBlocks: number;
  /** When a step last sampled a token, ms since the epoch; null before the first. */
  readonly lastTokenAtMs: number | null;
}

export interface Engine {
  /**
   * Queues a sequence. Its listener hears everything that follows.
   * @throws AppError CONTEXT_LENGTH_EXCEEDED when prompt + maxTokens cannot ever fit, INVALID_REQUEST on a bad field.
   */
  submit(request: SequenceRequest, listener: SequenceListener): void;
  /**
   * Ends a sequence in any state before the next step; its blocks are free when onFinish runs. Unknown ids are ignored.
   * @param sampleIndex ends this one of its replies, once it has begun; left out, all of them
   */
  abort(seqId: string, sampleIndex?: number): void;
  /**
   * Holds a sequence back, or lets it go on: from the next step on it takes no part, gives its blocks and its seat to others,
   * and keeps its tokens; let go, it is admitted again and its tokens are those that it would have had. Beams of a search
   * and unknown ids are ignored. Left out where an engine cannot.
   */
  hold?(seqId: string, isHeld: boolean): void;
  stats(): EngineStats;
  /** Resolves when no sequence is left; submit refuses from now on. */
  drain(): Promise<void>;
  /** Aborts all sequences and frees the model. */
  close(): Promise<void>;
}

export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

/** Text of one reply from its token ids. Its state is a function of the ids fed so far, so another worker can rebuild it. */
export interface TextStream {
  /** Returns the text that became certain; held back: an incomplete character, a possible start of a stop string. */
  push(tokenId: number): string;
  /** A stop string was met: nothing after it is text, and the caller aborts the sequence. */
  readonly isStopped: boolean;
  /** The held-back rest, once no more tokens come. Empty after a stop string. */
  end(): string;
}

/**
 * How a reply that was cut goes on. `tokens`: from exactly the token ids that were emitted. `text`: from their text, which
 * the serving model cuts into tokens anew.
 */
export type Continuation = 'tokens' | 'text';

/** One loaded model with the engine that serves it. */
export interface ServedModel {
  /** Name from the model file. */
  readonly name: string;
  /** Tokens of prompt + reply. */
  readonly contextLength: number;
  readonly engine: Engine;
  readonly continuation: Continuation;
  /** Ids that end a reply. */
  readonly stopTokenIds: readonly number[];
  /** Chat template + tokenizer. Control markers inside a content stay text. Ends with the assistant's opening. */
  encodePrompt(messages: readonly ChatMessage[]): number[];
  /** Ids of a text alone, without template or control tokens. */
  encodeText(text: string): number[];
  /** A token's bytes, empty for a control token; at most those of part of a character. Owned by the model, not to be changed. */
  tokenBytes(tokenId: number): Uint8Array;
  /** @param stop at most 4 strings that end the reply and are not part of it */
  createTextStream(stop: readonly string[]): TextStream;
  close(): Promise<void>;
}
