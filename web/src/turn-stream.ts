// Follows one turn to its `done`, whatever happens to the connections: posts it, reads its events, and after a lost
// network resumes behind the last event it has seen. Knows nothing of the page. Design §3, "Without `done` …".
import type { ApiClient, PostTurn, ResumeTurn } from './api-client.ts';
import { ApiError, unreachable } from './api-error.ts';
import type { TurnEvent } from './api-types.ts';
import { waitForLink } from './link.ts';
import type { Link } from './link.ts';
import { readSse } from './sse-reader.ts';

const EVENT_TYPES: ReadonlySet<string> = new Set([
  'open',
  'token',
  'retry',
  'moderation',
  'error',
  'done',
]);
const FIRST_BACK_OFF_MS = 500;
const MAX_BACK_OFF_MS = 15_000;
/** Three heartbeats of 15 s: a connection that is silent for longer is dead, even when nobody says so. */
const SILENCE_LIMIT_MS = 45_000;
const DEFAULT_DELAY_SECONDS = 5;

export type TurnUpdate =
  | { readonly type: 'event'; readonly event: TurnEvent }
  /** What was read so far is void: events come from the first one again. */
  | { readonly type: 'restart' }
  | { readonly type: 'connected' }
  | { readonly type: 'lost' }
  /** The service asked to come back in `seconds`; the next try is made by itself. */
  | { readonly type: 'delayed'; readonly seconds: number; readonly error: ApiError };

export interface TurnStreamDeps {
  readonly api: Pick<ApiClient, 'postTurn' | 'resumeTurn'>;
  readonly link: Link;
}

/**
 * Resolves when the turn is done.
 * @param start a new turn, or one that runs already
 * @throws ApiError when the turn is refused for good, the signal's reason when it is aborted
 */
export async function followTurn(
  { api, link }: TurnStreamDeps,
  start: PostTurn | ResumeTurn,
  onUpdate: (update: TurnUpdate) => void,
  signal: AbortSignal,
): Promise<void> {
  let turnId = 'turnId' in start ? start.turnId : null;
  let lastEventId = 'turnId' in start ? start.lastEventId : null;
  let numReplies = 1;
  let numFailures = 0;

  const connect = (connection: AbortSignal): Promise<ReadableStream<Uint8Array>> =>
    turnId === null && 'body' in start
      ? api.postTurn(start, connection)
      : api.resumeTurn(
          { conversationId: start.conversationId, turnId: turnId ?? '', lastEventId },
          connection,
        );

  /** Reads one connection to its end; true when that was the turn's end. */
  const read = async (): Promise<boolean> => {
    const connection = watchConnection(link, signal);
    try {
      const body = await connect(connection.signal);
      connection.touch();
      onUpdate({ type: 'connected' });
      for await (const frame of readSse(body, connection.touch)) {
        if (isSeen(frame.id, lastEventId)) continue;
        numFailures = 0;
        lastEventId = frame.id ?? lastEventId;
        const event = parseEvent(frame.event, frame.data);
        if (event === null) continue;
        if (event.type === 'open') {
          turnId = event.data.turn_id;
          numReplies = event.data.turn_ids?.length ?? 1;
        }
        onUpdate({ type: 'event', event });
        if (event.type === 'done' && (event.data.index ?? 0) === numReplies - 1) return true;
      }
      return false;
    } finally {
      connection.close();
    }
  };

  for (;;) {
    try {
      if (await read()) return;
      throw unreachable(new Error('The stream ended without done.'));
    } catch (error) {
      signal.throwIfAborted();
      const refusal = error instanceof ApiError ? error : unreachable(error);
      if (refusal.code === 'invalid_last_event_id' && lastEventId !== null) {
        lastEventId = null;
        onUpdate({ type: 'restart' });
        continue;
      }
      if (refusal.isTemporary) {
        const seconds = Math.max(1, Math.ceil(refusal.retryAfterSeconds ?? DEFAULT_DELAY_SECONDS));
        onUpdate({ type: 'delayed', seconds, error: refusal });
        await delay(link, seconds * 1000, signal);
        continue;
      }
      if (!refusal.isUnreachable) throw refusal;
      onUpdate({ type: 'lost' });
      await waitForLink(
        link,
        Math.min(FIRST_BACK_OFF_MS * 2 ** numFailures, MAX_BACK_OFF_MS),
        signal,
      );
      numFailures += 1;
    }
  }
}

/** A connection's own signal: it ends with the turn's, when the network goes, and when nothing came for too long. */
function watchConnection(
  link: Link,
  turn: AbortSignal,
): { signal: AbortSignal; touch(): void; close(): void } {
  const control = new AbortController();
  const abort = (): void => control.abort();
  let cancelTimer = link.after(SILENCE_LIMIT_MS, abort);
  const cancelWatch = link.onChange(() => {
    if (!link.isOnline()) abort();
  });
  turn.addEventListener('abort', abort);
  if (turn.aborted) abort();
  return {
    signal: control.signal,
    touch: () => {
      cancelTimer();
      cancelTimer = link.after(SILENCE_LIMIT_MS, abort);
    },
    close: () => {
      cancelTimer();
      cancelWatch();
      turn.removeEventListener('abort', abort);
    },
  };
}

/** The service named the time: a network that comes back does not shorten it. */
function delay(link: Link, ms: number, signal: AbortSignal): Promise<void> {
  return waitForLink({ ...link, onChange: () => () => undefined }, ms, signal);
}

/** A repeated POST replays the turn from its start. */
function isSeen(id: string | null, lastEventId: string | null): boolean {
  return id !== null && lastEventId !== null && Number(id) <= Number(lastEventId);
}

/** Null for what this page does not know: a newer service may say more. */
function parseEvent(type: string, data: string): TurnEvent | null {
  if (!EVENT_TYPES.has(type)) return null;
  try {
    return { type, data: JSON.parse(data) as unknown } as TurnEvent;
  } catch {
    return null;
  }
}
