// What the checker can say of a run, and the run as its checks look it up.
import type {
  FaultOperation,
  FinalState,
  FinalTurn,
  Operation,
  PostOperation,
  ReadOperation,
  ReplayOperation,
  StreamOperation,
} from './history.ts';

export interface Anomaly {
  /** A short name, the same for the same kind of fault: `lost`, `doubled`, `text-differs` … */
  readonly kind: string;
  readonly detail: string;
  readonly conversation?: string;
  readonly turnId?: string;
  /** When it was seen, ms since the run began. */
  readonly at?: number;
}

export interface Verdict {
  readonly anomalies: readonly Anomaly[];
  /** What a stated limit of docs/failure-modes.md explains: counted and shown, not held against the run. */
  readonly allowed: readonly Anomaly[];
}

/** A history and its final state, indexed. */
export class Run {
  readonly history: readonly Operation[];
  readonly final: FinalState;
  readonly posts: readonly PostOperation[];
  readonly reads: readonly ReadOperation[];
  readonly streams: readonly StreamOperation[];
  readonly faults: readonly FaultOperation[];
  readonly replays: readonly ReplayOperation[];
  readonly turns = new Map<string, FinalTurn>();
  readonly listOf = new Map<string, readonly FinalTurn[]>();

  constructor(history: readonly Operation[], final: FinalState) {
    this.history = history;
    this.final = final;
    this.posts = history.filter((each): each is PostOperation => each.op === 'post');
    this.reads = history.filter((each): each is ReadOperation => each.op === 'read');
    this.streams = history.filter((each): each is StreamOperation => each.op === 'stream');
    this.faults = history.filter((each): each is FaultOperation => each.op === 'fault');
    this.replays = history.filter((each): each is ReplayOperation => each.op === 'replay');
    for (const { id, turns } of final.conversations) {
      this.listOf.set(id, turns);
      for (const turn of turns) this.turns.set(turn.turnId, turn);
    }
  }

  /** The stored reply of a turn. */
  reply(turnId: string): FinalTurn | undefined {
    const turn = this.turns.get(turnId);
    return turn?.role === 'assistant' ? turn : undefined;
  }
}

/** Items by what they have in common, in their order. */
export function grouped<Item>(
  items: readonly Item[],
  keyOf: (item: Item) => string,
): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}
