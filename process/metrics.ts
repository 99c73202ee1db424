// The one Prometheus registry of a process and the instruments that several folders feed. Names are part of the
// contract with operators' dashboards.
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

export { Counter, Gauge, Histogram, Registry };

const SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8,
];

export interface Metrics {
  readonly registry: Registry;
  /** POST received → first token entry relayed. */
  readonly turnTtft: Histogram<'tier' | 'pool'>;
  /** Mean time per output token after the first, one observation a turn. */
  readonly turnTpot: Histogram<'pool'>;
  readonly turnStage: Histogram<'stage'>;
  readonly turns: Counter<'outcome' | 'tier' | 'pool'>;
  /** Reads of a conversation's newest turns by what the hot cache had: hit, stale, miss, error. */
  readonly conversationCache: Counter<'outcome'>;
  /** `late`: the turn went on without its facts. */
  readonly memoryRecalls: Counter<'outcome'>;
  readonly engineStep: Histogram<'pool'>;
  readonly sseStreams: Gauge;
  readonly sseWaitingBytes: Gauge;
  /** Reads that any node of the database may answer, by who did: primary or replica. */
  readonly storeReads: Counter<'node'>;
  /** Of each replica, as this process sees it; +Inf while it is not known to be near. */
  readonly storeReplicaLag: Gauge<'node'>;
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  return {
    registry,
    turnTtft: new Histogram({
      name: 'colloquy_turn_ttft_seconds',
      help: 'POST received to first token relayed',
      labelNames: ['tier', 'pool'],
      buckets: SECONDS,
      registers,
    }),
    turnTpot: new Histogram({
      name: 'colloquy_turn_tpot_seconds',
      help: 'Mean seconds per output token after the first',
      labelNames: ['pool'],
      buckets: SECONDS,
      registers,
    }),
    turnStage: new Histogram({
      name: 'colloquy_turn_stage_seconds',
      help: 'Seconds in one stage of a turn',
      labelNames: ['stage'],
      buckets: SECONDS,
      registers,
    }),
    turns: new Counter({
      name: 'colloquy_turns_total',
      help: 'Stored turns',
      labelNames: ['outcome', 'tier', 'pool'],
      registers,
    }),
    conversationCache: new Counter({
      name: 'colloquy_conversation_cache_total',
      help: 'Reads of a conversation’s newest turns by what the hot cache had',
      labelNames: ['outcome'],
      registers,
    }),
    memoryRecalls: new Counter({
      name: 'colloquy_memory_recalls_total',
      help: 'Turns of users with facts, by what came of looking them up',
      labelNames: ['outcome'],
      registers,
    }),
    engineStep: new Histogram({
      name: 'colloquy_engine_step_seconds',
      help: 'Seconds of one engine step',
      labelNames: ['pool'],
      buckets: SECONDS,
      registers,
    }),
    sseStreams: new Gauge({ name: 'colloquy_sse_streams', help: 'Open event streams', registers }),
    sseWaitingBytes: new Gauge({
      name: 'colloquy_sse_waiting_bytes',
      help: 'Bytes that wait for readers that have stalled',
      registers,
    }),
    storeReads: new Counter({
      name: 'colloquy_store_reads_total',
      help: 'Reads of the store that a replica may answer, by who did',
      labelNames: ['node'],
      registers,
    }),
    storeReplicaLag: new Gauge({
      name: 'colloquy_store_replica_lag_seconds',
      help: 'How far behind a replica is at most',
      labelNames: ['node'],
      registers,
    }),
  };
}

/** What feeds the instruments of the stores. */
export function storeInstruments({ storeReads, storeReplicaLag }: Metrics): {
  readonly onRead: (node: 'primary' | 'replica') => void;
  readonly onLag: (node: string, seconds: number | null) => void;
} {
  return {
    onRead: (node) => storeReads.inc({ node }),
    onLag: (node, seconds) => {
      if (seconds === null) storeReplicaLag.remove({ node });
      else storeReplicaLag.set({ node }, seconds);
    },
  };
}
