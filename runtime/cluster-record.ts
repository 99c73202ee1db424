// Which node of the embedded PostgreSQL is the primary: written before a promotion, read at every start, so that a former
// primary never starts as one again. The home's lock makes its owner the only one who decides.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { readJson, writeFileAtomically } from './home-folder.ts';

const recordSchema = z.object({
  /** Name of the node. */
  primary: z.string(),
  /** Everything acknowledged is on a standby too: the primary may be given up. Never true when it is not so. */
  synchronous: z.boolean(),
});
type Record = z.infer<typeof recordSchema>;

export class ClusterRecord {
  readonly #path: string;
  #record: Record;

  /** @param folder COLLOQUY_HOME/postgres  @param first name of the node that is the primary of a new home */
  constructor(folder: string, first: string) {
    this.#path = join(folder, `${first}-primary.json`);
    const known = recordSchema.safeParse(readJson(this.#path));
    this.#record = known.success ? known.data : { primary: first, synchronous: false };
  }

  /** The home had replicas before, so its primary may be another one than the first. */
  get exists(): boolean {
    return existsSync(this.#path);
  }

  get primary(): string {
    return this.#record.primary;
  }

  get isSynchronous(): boolean {
    return this.#record.synchronous;
  }

  write(change: Partial<Record>): void {
    const record = { ...this.#record, ...change };
    writeFileAtomically(this.#path, `${JSON.stringify(record, null, 2)}\n`);
    this.#record = record;
  }
}
