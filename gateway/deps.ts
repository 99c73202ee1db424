// What the app is made of: everything it touches comes in here, so that tests can give twins.
import type { RecentTurns } from '../activities/recent-turns.ts';
import type { Catalog } from '../contracts/catalog.ts';
import type { ConversationCache } from '../contracts/conversation-cache.ts';
import type { PromptEncoderOf } from '../contracts/prompt-encoder.ts';
import type { ErasureDispatch } from '../contracts/erasure.ts';
import type { Limiter } from '../contracts/limiter.ts';
import type { TextEmbedder } from '../contracts/text-embedder.ts';
import type { TurnDispatch } from '../contracts/turn-dispatch.ts';
import type { TurnLogReader, TurnLogWriter } from '../contracts/turn-log.ts';
import type { Stores } from '../postgres/stores.ts';
import type { Config } from '../process/config.ts';
import type { Logger } from '../process/logger.ts';
import type { Metrics } from '../process/metrics.ts';
import type { DisconnectGrace } from './disconnect-grace.ts';
import type { KeyWatch } from './key-watch.ts';
import type { OpenStreams } from './open-streams.ts';
import type { TurnOpenings } from './turn-openings.ts';
import type { ReaderProgress } from './reader-progress.ts';

export interface GatewayDeps {
  readonly stores: Stores;
  readonly turnLog: TurnLogWriter & TurnLogReader;
  readonly cache: ConversationCache;
  readonly recentTurns: RecentTurns;
  readonly limiter: Limiter;
  /** Shared with the embedded worker. */
  readonly openings: TurnOpenings;
  readonly dispatch: TurnDispatch;
  readonly erasure: ErasureDispatch;
  /** Sequences waiting in the pool's least busy worker; null when unknown. */
  readonly leastWaiting: (pool: string) => Promise<number | null>;
  readonly catalog: Catalog;
  readonly encoderOf: PromptEncoderOf;
  readonly memory: {
    /** Null where there is none: facts are kept, and told to no turn. */
    readonly embedder: TextEmbedder | null;
    /** How long a turn that is ready to run waits for its facts; 0 = it is told none. */
    readonly recallMs: number;
  };
  readonly http: Config['http'];
  readonly metrics: Metrics;
  readonly logger: Logger;
  readonly streams: OpenStreams;
  /** Closes streams whose key is no longer good. */
  readonly keys: KeyWatch;
  readonly grace: DisconnectGrace;
  readonly readerProgress: ReaderProgress;
  /** Named readiness checks. */
  readonly ready: Readonly<Record<string, () => Promise<boolean> | boolean>>;
}
