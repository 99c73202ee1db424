// Another model with the same vocabulary: the same file, with some of its weights changed a little.
import { readFileSync, writeFileSync } from 'node:fs';

/** Of the file, from its end: weights, and no metadata. */
const CHANGED_SHARE = 0.4;
/** One of so many numbers is changed. */
const STRIDE = 3;

/** Writes a copy of a model of f16 and f32 weights in which the lower mantissa bits of every third of the later ones are others. */
export function writePerturbed(path: string, target: string): void {
  const bytes = readFileSync(path);
  const first = Math.floor((bytes.length * (1 - CHANGED_SHARE)) / 2) * 2;
  for (let at = first; at < bytes.length; at += 2 * STRIDE) bytes[at] = (bytes[at] ?? 0) ^ 0x0b;
  writeFileSync(target, bytes);
}
