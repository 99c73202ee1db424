// What single logits of a sequence are changed by before its next token is drawn: logit bias, the choices it is held to, and
// the three penalties for what was said already. Tokens are counted here; the native side only applies the entries (see AdjustmentRows).
import type { SamplingParams } from '../contracts/engine.ts';
import { CHOICE_BIAS, ChoiceTrie } from './choice-trie.ts';
import type { AdjustmentRows } from './forward-batch.ts';

/** One sample's entries; the arrays are equally long. See AdjustmentRows. */
export interface AdjustmentRow {
  readonly ids: readonly number[];
  readonly biases: readonly number[];
  readonly scales: readonly number[];
  readonly penalties: readonly number[];
}

interface Entry {
  /** Its place in the lists. */
  readonly at: number;
  /** Stays without any occurrence. */
  readonly isBiased: boolean;
  /** In the tokens counted so far. */
  numOccurrences: number;
  /** Those among them that are output. */
  numOutputs: number;
}

/**
 * The entries of one sequence. A row is a function of the parameters, the prompt's length and the tokens before the sample
 * alone: biased ids in their order, then tokens in order of first appearance. What was counted for the last row is kept,
 * and uncounted where the next row's tokens are fewer or others, as those of a rejected draft are.
 * Sources: repetition penalty, CTRL (arXiv 1909.05858 §4.1), over prompt and output; frequency and presence penalty as
 * OpenAI's API reference defines them, over output only.
 */
export class LogitAdjustments {
  readonly #repetitionPenalty: number;
  readonly #frequencyPenalty: number;
  readonly #presencePenalty: number;
  readonly #promptLength: number;
  /** Tokens before this one are not counted; Infinity = none is. */
  readonly #firstCounted: number;
  /** Null when the reply is free. */
  readonly choices: ChoiceTrie | null;
  readonly #stopTokenIds: readonly number[];
  /** Counted ids, from #firstCounted on. */
  readonly #counted: number[] = [];
  readonly #entries = new Map<number, Entry>();
  readonly #ids: number[] = [];
  readonly #biases: number[] = [];
  readonly #scales: number[] = [];
  readonly #penalties: number[] = [];

  /** @returns null when the parameters change no logit */
  static of(
    sampling: SamplingParams,
    promptLength: number,
    stopTokenIds: readonly number[] = [],
  ): LogitAdjustments | null {
    const adjustments = new LogitAdjustments(sampling, promptLength, stopTokenIds);
    const isCounting = adjustments.#firstCounted < Infinity;
    return adjustments.#ids.length > 0 || isCounting || adjustments.choices !== null
      ? adjustments
      : null;
  }

  private constructor(
    sampling: SamplingParams,
    promptLength: number,
    stopTokenIds: readonly number[],
  ) {
    const { repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0 } = sampling;
    this.#repetitionPenalty = repetitionPenalty;
    this.#frequencyPenalty = frequencyPenalty;
    this.#presencePenalty = presencePenalty;
    this.#promptLength = promptLength;
    if (repetitionPenalty !== 1) this.#firstCounted = 0;
    else
      this.#firstCounted =
        frequencyPenalty !== 0 || presencePenalty !== 0 ? promptLength : Infinity;
    for (const [id, bias] of sampling.logitBias ?? []) this.#add(id, bias, true);
    this.choices = sampling.choices === undefined ? null : new ChoiceTrie(sampling.choices);
    this.#stopTokenIds = stopTokenIds;
  }

  /** The entries of a sample that follows the first `length` of `tokenIds`; the arrays are the caller's. */
  rowAt(tokenIds: readonly number[], length: number): AdjustmentRow {
    this.#count(tokenIds, length);
    const row = {
      ids: this.#ids.slice(),
      biases: this.#biases.slice(),
      scales: this.#scales.slice(),
      penalties: this.#penalties.slice(),
    };
    for (const id of this.#allowed(tokenIds, length)) {
      const at = this.#entries.get(id)?.at;
      if (at === undefined) {
        row.ids.push(id);
        row.biases.push(CHOICE_BIAS);
        row.scales.push(1);
        row.penalties.push(0);
      } else row.biases[at] = (row.biases[at] ?? 0) + CHOICE_BIAS;
    }
    return row;
  }

  /** What the next token must be one of; none where anything may come. */
  #allowed(tokenIds: readonly number[], length: number): readonly number[] {
    const next = this.choices?.nextIds(tokenIds, this.#promptLength, length) ?? [];
    const mayEnd = this.choices?.isChoice(tokenIds, this.#promptLength, length) === true;
    return mayEnd ? [...next, ...this.#stopTokenIds] : next;
  }

  #count(tokenIds: readonly number[], length: number): void {
    const first = this.#firstCounted;
    const numWanted = Math.max(0, length - first);
    const limit = Math.min(numWanted, this.#counted.length);
    let numSame = 0;
    while (numSame < limit && this.#counted[numSame] === tokenIds[first + numSame]) numSame += 1;
    while (this.#counted.length > numSame) {
      const id = this.#counted.pop() ?? -1;
      this.#change(id, -1, first + this.#counted.length);
    }
    for (let position = first + numSame; position < length; position += 1) {
      const id = tokenIds[position] ?? -1;
      this.#counted.push(id);
      this.#change(id, 1, position);
    }
  }

  /** Counts or uncounts the token at a position. */
  #change(id: number, by: 1 | -1, position: number): void {
    const entry = this.#entries.get(id) ?? this.#add(id, 0, false);
    entry.numOccurrences += by;
    if (position >= this.#promptLength) entry.numOutputs += by;
    if (entry.numOccurrences === 0 && !entry.isBiased) {
      // Uncounted in reverse order, the token that appeared first last is the last entry.
      this.#entries.delete(id);
      for (const list of [this.#ids, this.#biases, this.#scales, this.#penalties]) list.pop();
      return;
    }
    this.#scales[entry.at] = entry.numOccurrences > 0 ? this.#repetitionPenalty : 1;
    this.#penalties[entry.at] =
      entry.numOutputs > 0 ? entry.numOutputs * this.#frequencyPenalty + this.#presencePenalty : 0;
  }

  #add(id: number, bias: number, isBiased: boolean): Entry {
    const entry = { at: this.#ids.length, isBiased, numOccurrences: 0, numOutputs: 0 };
    this.#entries.set(id, entry);
    this.#ids.push(id);
    this.#biases.push(bias);
    this.#scales.push(1);
    this.#penalties.push(0);
    return entry;
  }
}

/** The rows of all samples in one; undefined, as in ForwardBatch, when no sample has any entry. */
export function flattenAdjustments(
  rows: readonly (AdjustmentRow | null)[],
): AdjustmentRows | undefined {
  const numEntries = rows.reduce((sum, row) => sum + (row?.ids.length ?? 0), 0);
  if (numEntries === 0) return undefined;
  const flat = {
    starts: new Int32Array(rows.length + 1),
    ids: new Int32Array(numEntries),
    biases: new Float32Array(numEntries),
    scales: new Float32Array(numEntries),
    penalties: new Float32Array(numEntries),
  };
  let at = 0;
  for (const [sample, row] of rows.entries()) {
    if (row !== null) {
      flat.ids.set(row.ids, at);
      flat.biases.set(row.biases, at);
      flat.scales.set(row.scales, at);
      flat.penalties.set(row.penalties, at);
      at += row.ids.length;
    }
    flat.starts[sample + 1] = at;
  }
  return flat;
}
