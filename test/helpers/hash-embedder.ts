// An embedder without weights: a text's words hashed into a vector, so that texts with words in common are alike.
import { createHash } from 'node:crypto';
import type { TextEmbedder } from '../../contracts/text-embedder.ts';

const WIDTH = 384;

export interface HashEmbedder extends TextEmbedder {
  /** Texts so far. */
  readonly texts: readonly string[];
}

/** @param before awaited before each answer */
export function hashEmbedder(before: () => Promise<void> = async () => undefined): HashEmbedder {
  const texts: string[] = [];
  return {
    model: 'hashed words',
    width: WIDTH,
    texts,
    embed: async (asked) => {
      texts.push(...asked);
      await before();
      const vectors = new Float32Array(asked.length * WIDTH);
      for (const [index, text] of asked.entries()) vectors.set(hashedWords(text), index * WIDTH);
      return vectors;
    },
  };
}

/** Of length 1. */
export function hashedWords(text: string): Float32Array {
  const vector = new Float32Array(WIDTH);
  for (const word of text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? ['']) {
    const hash = createHash('sha256').update(word).digest();
    for (let at = 0; at < 4; at += 1) {
      const place = hash.readUInt16LE(at * 2) % WIDTH;
      vector[place] = (vector[place] ?? 0) + (hash[16 + at] ?? 0) - 127.5;
    }
  }
  const length = Math.hypot(...vector);
  return vector.map((value) => value / length);
}
