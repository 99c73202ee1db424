// A turn whose last reader left runs on for a while; when nobody has come back, on any gateway, it is cancelled.
import type { ConversationId, TurnId } from '../contracts/ids.ts';
import type { TurnDispatch } from '../contracts/turn-dispatch.ts';
import type { TurnLogReader, TurnLogWriter } from '../contracts/turn-log.ts';
import type { Logger } from '../process/logger.ts';
import { cancelTurn } from './cancel-turn.ts';

export interface GraceDeps {
  readonly turnLog: TurnLogWriter & TurnLogReader;
  readonly dispatch: TurnDispatch;
  readonly logger: Logger;
  readonly graceMs: number;
}

export class DisconnectGrace {
  readonly #deps: GraceDeps;
  readonly #readers = new Map<TurnId, number>();
  readonly #timers = new Map<TurnId, NodeJS.Timeout>();

  constructor(deps: GraceDeps) {
    this.#deps = deps;
  }

  /** A reader came to this process. */
  arrived(turnId: TurnId): void {
    this.#readers.set(turnId, (this.#readers.get(turnId) ?? 0) + 1);
    clearTimeout(this.#timers.get(turnId));
    this.#timers.delete(turnId);
  }

  /** A reader left. @param hasEnded the turn needs no reader any more */
  left(conversationId: ConversationId, turnId: TurnId, hasEnded: boolean): void {
    const remaining = (this.#readers.get(turnId) ?? 1) - 1;
    if (remaining > 0) {
      this.#readers.set(turnId, remaining);
      return;
    }
    this.#readers.delete(turnId);
    if (hasEnded) return;
    const timer = setTimeout(() => {
      this.#timers.delete(turnId);
      void this.#expire(conversationId, turnId);
    }, this.#deps.graceMs);
    timer.unref();
    this.#timers.set(turnId, timer);
  }

  /** Forgets all timers: readers of a stopping gateway resume elsewhere. */
  stop(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  async #expire(conversationId: ConversationId, turnId: TurnId): Promise<void> {
    const { turnLog, dispatch, logger } = this.#deps;
    try {
      if ((await turnLog.countReaders(turnId)) > 0) return;
      if ((await cancelTurn({ turnLog, dispatch }, conversationId, turnId)) === 'running')
        logger.info({ turnId }, 'cancelled: no reader came back');
    } catch (error) {
      logger.warn({ error, turnId }, 'a turn without readers could not be cancelled'); // It ends by itself.
    }
  }
}
