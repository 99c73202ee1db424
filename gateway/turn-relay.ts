// A turn's entries to one client: as events, or gathered into one JSON reply.
import type { Response } from 'express';
import type { ConversationId, TurnId, UserId } from '../contracts/ids.ts';
import { AppError } from '../contracts/errors.ts';
import type { NumberedEntry } from '../contracts/turn-events.ts';
import { keyHashOf } from './authenticate.ts';
import type { GatewayDeps } from './deps.ts';
import type { OpenStream } from './open-streams.ts';
import type { ReaderReport } from './reader-progress.ts';
import { frameOf } from './replay.ts';
import { openEventStream } from './sse.ts';
import { replyOf } from './turn-reply.ts';
import { TurnFeed } from './turn-feed.ts';
import type { FeedDeps } from './turn-feed.ts';

export interface RelayedTurn {
  readonly userId: UserId;
  readonly conversationId: ConversationId;
  readonly turnId: TurnId;
  readonly pool: string;
  /** The last entry the client has. */
  readonly after: number;
  /** Called with the first token entry. */
  readonly onFirstToken?: () => void;
}

/** Creates the log and starts the workflow unless they are there; true when this call created the log. */
export type Begin = () => Promise<boolean>;

/**
 * Subscribes, lets `begin` run, then relays until `end` or until the client goes. Headers are sent with the first
 * entries, so a failure before them is a plain error response.
 */
export async function relayEvents(
  deps: GatewayDeps,
  response: Response,
  turn: RelayedTurn,
  begin: Begin = async () => false,
): Promise<void> {
  const stream: OpenStream = {
    write: (text) => {
      if (response.headersSent && !response.writableEnded && !response.writableNeedDrain)
        response.write(text);
    },
    close: () => void response.end(),
    destroy: () => void response.destroy(),
  };
  let isFirstToken = true;
  const feed: TurnFeed = new TurnFeed(
    feedDeps(deps, turn),
    turn.conversationId,
    turn.turnId,
    turn.after,
    {
      onEntries: (entries) => {
        if (isFirstToken && entries.some((entry) => entry.type === 'token')) {
          isFirstToken = false;
          turn.onFirstToken?.();
        }
        const text = entries.map((entry) => frameOf(entry) ?? '').join('');
        const hasRoom = response.headersSent
          ? response.write(text)
          : openEventStream(response, text);
        if (!hasRoom) {
          hold(deps, response, stream, () => {
            reader.report?.flowing();
            feed.resume();
          });
          reader.report?.stalled(entries.at(-1)?.n ?? 0);
        }
        if (feed.hasEnded) response.end();
        return hasRoom;
      },
      onLost: () => void response.end(),
    },
  );
  const reader: WatchedReader = watch(deps, response, turn, feed, stream);
  await reader.follow(begin);
  if (!response.headersSent) openEventStream(response);
  if (feed.hasEnded) response.end();
}

function feedDeps({ stores, turnLog, streams }: GatewayDeps, { userId }: RelayedTurn): FeedDeps {
  return { db: stores.primaryOf(userId), turnLog, streams };
}

/** Waits for the end and answers with one JSON object. */
export async function relayReply(
  deps: GatewayDeps,
  response: Response,
  turn: RelayedTurn,
  begin: Begin,
): Promise<void> {
  const gathered: NumberedEntry[] = [];
  const outcome = new Promise<void>((resolve, reject) => {
    const feed: TurnFeed = new TurnFeed(feedDeps(deps, turn), turn.conversationId, turn.turnId, 0, {
      onEntries: (entries) => {
        gathered.push(...entries);
        if (feed.hasEnded) resolve();
        return true;
      },
      onLost: () => reject(new AppError('STREAM_UNAVAILABLE')),
    });
    const stream = {
      write: () => undefined,
      close: () => reject(new AppError('STREAM_UNAVAILABLE')),
      destroy: () => void response.destroy(),
    };
    const reader = watch(deps, response, turn, feed, stream);
    response.once('close', () => resolve());
    reader.follow(begin).then(() => feed.hasEnded && resolve(), reject);
  });
  await outcome;
  if (!response.destroyed) response.json(replyOf(gathered));
}

/**
 * The socket is full: nothing more is written until the reader has taken all that waits. One that takes nothing for
 * long is let go (the server closes a socket that times out); it resumes by its last number.
 */
function hold(deps: GatewayDeps, response: Response, stream: OpenStream, onRoom: () => void): void {
  const { socket } = response;
  socket?.setTimeout(deps.http.streamStallMs);
  deps.streams.stalled(stream, response.writableLength);
  response.once('drain', () => {
    socket?.setTimeout(0);
    deps.streams.flowing(stream);
    onRoom();
  });
}

interface WatchedReader {
  /** Subscribes, lets `begin` run, and follows the log; counts the reader out when any of it fails. */
  follow(begin: Begin): Promise<void>;
  /** Tells its turn's worker what it does, from `begin` on. */
  report: ReaderReport | null;
}

/** Counts the reader in, and out when the response closes. */
function watch(
  deps: GatewayDeps,
  response: Response,
  turn: RelayedTurn,
  feed: TurnFeed,
  stream: OpenStream,
): WatchedReader {
  deps.streams.add(stream);
  const unwatch = deps.keys.watch(keyHashOf(response), stream);
  deps.grace.arrived(turn.turnId);
  let isHere = true;
  const leave = (): void => {
    if (!isHere) return;
    isHere = false;
    deps.streams.remove(stream);
    unwatch();
    reader.report?.left();
    void feed.close().then(() => deps.grace.left(turn.conversationId, turn.turnId, feed.hasEnded));
  };
  const reader: WatchedReader = {
    report: null,
    follow: async (begin) => {
      try {
        await feed.subscribe();
        const isNew = await begin();
        if (!response.destroyed)
          reader.report = deps.readerProgress.arrived(turn.turnId, turn.pool);
        if (isNew) feed.follow();
        else await feed.start();
      } catch (error) {
        leave();
        throw error;
      }
    },
  };
  response.once('close', leave);
  response.on('error', leave);
  return reader;
}
