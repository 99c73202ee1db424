// The model catalogue that operators edit (config/catalog.yaml): models, prices, pools, tier defaults and limits.
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { z } from 'zod';
import { TIERS } from './turn-facts.ts';

const tier = z.enum(TIERS);
const usd = z.number().min(0);

/** Tokens of prompt + reply that a pool accepts, at most the model's own. */
const contextLength = z.int().min(64);
/** Sequences at once: of an engine's batch, or requests of one worker to a remote server. */
const maxNumSeqs = z.int().min(1).max(1024);
/** Free turns are refused while this many sequences wait in every worker of the pool. */
const shedWaiting = z.int().min(1);

/** Our own engine. */
const nativePool = z.strictObject({
  kind: z.literal('native'),
  /** A GGUF file; relative paths are below COLLOQUY_HOME. */
  weights: z.string().min(1),
  kv_pool_bytes: z.int().min(1_048_576),
  /** How it keeps keys and values; `q8` takes about half the memory of `f16` and moves answers a little. */
  kv_format: z.enum(['f16', 'q8']).default('f16'),
  /** Memory beside it for preempted sequences, taken only when used; 0 = they are computed again. */
  swap_bytes: z.int().min(0),
  context_length: contextLength,
  max_num_seqs: maxNumSeqs,
  max_num_batched_tokens: z.int().min(16).max(16_384),
  /** Tokens guessed ahead for one sequence in one step; 0 = no speculation. Never changes an answer. */
  max_draft_tokens: z.int().min(0).max(32),
  /**
   * How weights meet activations (docs/engine.md), the same for all of the pool's workers: the two have different bits, and
   * a reply must be able to go on at the token on any of them. `blocks` is fast on every machine, `rows` on those with AMX.
   * `fastest` is `rows` on a machine with AMX and `blocks` on others: for pools whose machines are all alike.
   */
  arithmetic: z.enum(['blocks', 'rows', 'fastest']).default('blocks'),
  /**
   * A GGUF file of a smaller model with the same vocabulary, which guesses where the text has nothing to look up; with a
   * KV pool of its own. Left out = none.
   */
  draft_model: z
    .strictObject({ weights: z.string().min(1), kv_pool_bytes: z.int().min(1_048_576) })
    .optional(),
  /**
   * Tokens that a reply may be ahead of the reader who is furthest, once all of its readers take nothing: then it is held back,
   * a minute at most. Left out = replies wait for nobody.
   */
  look_ahead_tokens: z.int().min(16).optional(),
  shed_waiting: shedWaiting,
});

/** A server that speaks OpenAI's API. docs/operations.md shows one with vLLM. */
const remotePool = z.strictObject({
  kind: z.literal('remote'),
  /** The API's root, ending in /v1 as a rule. */
  base_url: z.string().refine(isPlainHttpUrl, {
    message: 'must be http:// or https://, without credentials, query or fragment',
  }),
  /**
   * Which server it is. The first three take and give token ids, so a cut reply goes on at the token; `openai` stands
   * for any other, which goes on from the reply's text.
   */
  server: z.enum(['vllm', 'sglang', 'llama.cpp', 'openai']),
  /** The model's name on that server. */
  model: z.string().min(1),
  /**
   * A GGUF file whose vocabulary turns text into token ids; relative paths are below COLLOQUY_HOME. The served model's
   * own unless `server` is `openai`, where it only measures and stores the text.
   */
  tokenizer: z.string().min(1),
  /** Name of the environment variable of the workers that holds the server's key. */
  api_key_env: z
    .string()
    .regex(/^[A-Z][A-Z0-9_]*$/, 'must be the name of an environment variable')
    .optional(),
  context_length: contextLength,
  max_num_seqs: maxNumSeqs,
  shed_waiting: shedWaiting,
  timeouts: z
    .strictObject({
      connect_ms: z.int().min(1).default(5000),
      /** From the request to its first token; the server's own queue is in it. */
      first_token_ms: z.int().min(1).default(60_000),
      between_tokens_ms: z.int().min(1).default(20_000),
      /** How long one attempt asks a server again that is down, or says 429 or 503, before the attempt fails. */
      unavailable_ms: z.int().min(0).default(15_000),
    })
    .prefault({}),
});

const pool = z.discriminatedUnion('kind', [nativePool, remotePool]);

const model = z.strictObject({
  pool: z.string().min(1),
  /** What really answers, shown as `served_model`. */
  served_model: z.string().min(1),
  tiers: z.array(tier).min(1),
  reasoning: z.boolean(),
  /** Ceiling of a reply, and its length when the request does not say. */
  max_output_tokens: z.int().min(1),
  default_output_tokens: z.int().min(1),
  /** USD per million tokens. */
  prices: z.strictObject({ input: usd, cached_input: usd, output: usd }),
});

const tierRow = z.strictObject({
  default_model: z.string().min(1),
  /** Which model answers `reasoning: true`; null refuses it. */
  reasoning_model: z.string().nullable(),
  requests_per_minute: z.int().min(1),
  tokens_per_minute: z.int().min(1),
  /** Turns are kept this long, unless the user's organisation says otherwise; null = for ever. */
  retention_days: z.int().min(1).max(36_500).nullable().default(null),
  /** Temporal's and the engine's priority: 1 first … 5 last. */
  priority: z.int().min(1).max(5),
});

/** How prompts are made (docs/prompts.md). A change makes prompts of earlier turns differ from what their engines got. */
const prompt = z.strictObject({
  /**
   * Older turns are summarised once the turns behind the last summary take more tokens than this; about half of them then
   * stay word for word.
   */
  window_tokens: z.int().min(64).default(1536),
  /** Exchanges that one summary of the lowest level stands for … */
  summary_span: z.int().min(1).max(64).default(4),
  /** … and summaries that one of the next level does. */
  summary_fan_out: z.int().min(2).max(16).default(4),
  /** Tokens of a summary, at most; 0 = none are made, none are shown, and the window is the model's whole context. */
  summary_tokens: z.int().min(0).max(1024).default(64),
});

const catalogSchema = z
  .strictObject({
    version: z.int(),
    region: z.string().min(1),
    system_prompt: z.string(),
    prompt: prompt.prefault({}),
    pools: z.record(z.string().regex(/^[a-z0-9-]+$/), pool),
    models: z.record(z.string().regex(/^[a-z0-9.-]+$/), model),
    tiers: z.strictObject({ free: tierRow, paid: tierRow, enterprise: tierRow }),
  })
  .superRefine((catalog, context) => {
    const wrong = (message: string): void => context.addIssue({ code: 'custom', message });
    for (const [id, each] of Object.entries(catalog.models)) {
      if (!(each.pool in catalog.pools))
        wrong(`model ${id} names pool ${each.pool}, which is not defined`);
    }
    for (const [name, row] of Object.entries(catalog.tiers)) {
      for (const id of [row.default_model, row.reasoning_model]) {
        if (id === null) continue;
        const named = catalog.models[id];
        if (named === undefined) wrong(`tier ${name} names model ${id}, which is not defined`);
        else if (!named.tiers.includes(name as z.infer<typeof tier>))
          wrong(`tier ${name} may not use its own model ${id}`);
      }
    }
  });

export type Catalog = z.infer<typeof catalogSchema>;
export type CatalogModel = z.infer<typeof model>;
export type RemotePool = z.infer<typeof remotePool>;

/**
 * Reads and checks a catalogue.
 * @throws Error that lists every fault, when the file is absent or wrong: a process refuses to start on it.
 */
export function loadCatalog(path: string): Catalog {
  const result = catalogSchema.safeParse(parse(readFileSync(path, 'utf8')));
  if (!result.success)
    throw new Error(`${path} is not a valid catalogue:\n${z.prettifyError(result.error)}`);
  return result.data;
}

function isPlainHttpUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  if (!['http:', 'https:'].includes(url.protocol)) return false;
  return [url.username, url.password, url.search, url.hash].every((part) => part === '');
}

/** Tokens that a pool's replies may be ahead of their readers; null where they wait for nobody. */
export function lookAheadOf({ pools }: Catalog, poolName: string): number | null {
  const named = pools[poolName];
  return named?.kind === 'native' ? (named.look_ahead_tokens ?? null) : null;
}

/** The task queue of a pool's inference workers. */
export function poolTaskQueue(poolName: string): string {
  return `gen.${poolName}`;
}
