// Vectors as the store takes them.
import pgvector from 'pgvector/pg';
import { STORED_WIDTH } from '../contracts/text-embedder.ts';

/** A statement's parameter of type vector(1536). */
export function vectorParameter(values: Float32Array): string {
  const padded = new Float32Array(STORED_WIDTH);
  padded.set(values);
  return pgvector.toSql([...padded]);
}
