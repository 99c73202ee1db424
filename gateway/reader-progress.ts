// What this gateway's readers of a turn do, told to the turn's worker where its pool has a look-ahead; all other turns cost
// nothing here.
import type { TurnId } from '../contracts/ids.ts';
import type { ReadersState, TurnReaders } from '../contracts/turn-log.ts';

/** One reader of a turn. */
export interface ReaderReport {
  flowing(): void;
  /** It takes nothing; it has been given everything up to this entry. */
  stalled(entry: number): void;
  left(): void;
}

export interface ReaderProgressOptions {
  readonly readers: TurnReaders;
  /** This process. */
  readonly gateway: string;
  readonly hasLookAhead: (pool: string) => boolean;
  readonly onError: (error: unknown) => void;
}

/** State of a turn here: what its readers do, and what was told last; told in order, one at a time. */
interface Told {
  readonly readers: Map<object, 'flowing' | number>;
  telling: Promise<void>;
  state: ReadersState;
}

const SILENT: ReaderReport = Object.freeze({
  flowing: () => undefined,
  stalled: () => undefined,
  left: () => undefined,
});

export class ReaderProgress {
  readonly #options: ReaderProgressOptions;
  readonly #turns = new Map<TurnId, Told>();

  constructor(options: ReaderProgressOptions) {
    this.#options = options;
  }

  /** A reader of a turn whose log exists. */
  arrived(turnId: TurnId, pool: string): ReaderReport {
    if (!this.#options.hasLookAhead(pool)) return SILENT;
    const reader = {};
    const set = (state: 'flowing' | number | null): void => {
      const told = this.#turns.get(turnId) ?? newTurn();
      this.#turns.set(turnId, told);
      if (state === null) told.readers.delete(reader);
      else told.readers.set(reader, state);
      this.#tell(turnId, told);
      if (told.readers.size === 0) this.#turns.delete(turnId);
    };
    set('flowing');
    return {
      flowing: () => set('flowing'),
      stalled: (entry) => set(entry),
      left: () => set(null),
    };
  }

  #tell(turnId: TurnId, told: Told): void {
    const states = [...told.readers.values()];
    const stalled = states.filter((each) => each !== 'flowing');
    const now: ReadersState =
      states.length === 0
        ? 'none'
        : stalled.length < states.length
          ? 'flowing'
          : Math.max(...stalled);
    if (now === told.state) return;
    told.state = now;
    const { readers, gateway, onError } = this.#options;
    told.telling = told.telling
      .then(() => (told.state === now ? readers.report(turnId, gateway, now) : undefined))
      .catch(onError);
  }
}

function newTurn(): Told {
  return { readers: new Map(), telling: Promise.resolve(), state: 'none' };
}
