// Which shard serves which slot, as this process knows it: read from the directory, again every second and on each refusal.
// Whoever reads it also takes the last steps of a move whose mover died between them.
import type { Pool } from './pool.ts';
import { arrive, hasLeft, readMap, switchMap } from './shard-map-rows.ts';
import type { MapRows, SlotMove } from './shard-map-rows.ts';

const POLL_MS = 1000;

export class ShardMap {
  readonly #directory: () => Pool;
  readonly #primaryOf: (shard: number) => Pool | undefined;
  readonly #onError: (error: unknown) => void;
  readonly #timer: NodeJS.Timeout;
  #rows: MapRows | null = null;
  #reading: Promise<MapRows> | null = null;

  /** @param primaryOf where a shard is written; undefined for one that is not configured */
  constructor(options: {
    directory: () => Pool;
    primaryOf: (shard: number) => Pool | undefined;
    onError: (error: unknown) => void;
  }) {
    this.#directory = options.directory;
    this.#primaryOf = options.primaryOf;
    this.#onError = options.onError;
    this.#timer = setInterval(() => {
      this.refresh().catch(this.#onError);
    }, POLL_MS);
    this.#timer.unref();
  }

  /** @throws AppError STORAGE_UNAVAILABLE when the map has never been read and the directory does not answer */
  async shardOf(slot: number): Promise<number> {
    return (this.#rows ?? (await this.refresh())).shards[slot] ?? 0;
  }

  /** Positions in a log that were noted for the slot's rows may be those of another database. */
  async hasMovedLately(slot: number): Promise<boolean> {
    return (this.#rows ?? (await this.refresh())).movedLately.includes(slot);
  }

  /** Reads the map now; calls at the same time share one reading. */
  refresh(): Promise<MapRows> {
    this.#reading ??= this.#read().finally(() => (this.#reading = null));
    return this.#reading;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #read(): Promise<MapRows> {
    const rows = await readMap(this.#directory());
    this.#rows = rows;
    const finished = await Promise.all(rows.moves.map((move) => this.#finish(move)));
    if (!finished.includes(true)) return rows;
    this.#rows = await readMap(this.#directory());
    return this.#rows;
  }

  /** True when the source had given the slot away: then nothing may be left to the mover. */
  async #finish(move: SlotMove): Promise<boolean> {
    const [source, target] = [this.#primaryOf(move.source), this.#primaryOf(move.target)];
    if (source === undefined || target === undefined) return false;
    try {
      if (!(await hasLeft(source, move))) return false;
      await arrive(target, move);
      await switchMap(this.#directory(), move);
      return true;
    } catch (error) {
      this.#onError(error);
      return false;
    }
  }
}
