// A client as a browser would be: it takes one turn to its `done` whatever breaks on the way, by the Idempotency-Key
// before the first frame and by Last-Event-ID after it. Records what a reader would notice.
import { randomUUID } from 'node:crypto';
import { resumeTurn, takeTurn, textOf } from './turn-client.ts';
import type { Caller, ReceivedEvent, TurnStream } from './turn-client.ts';

export interface WholeTurn {
  readonly turnId: string;
  readonly events: readonly ReceivedEvent[];
  readonly text: string;
  /** Longest time without a frame. */
  readonly maxGapMs: number;
  /** From the request to `done`. */
  readonly totalMs: number;
  /** Answers that asked to come again. */
  readonly numRefused: number;
  /** Streams that ended without `done`. */
  readonly numResumed: number;
}

const RETRY_MS = 200;
/** No turn may take longer, whatever dies. */
const LIMIT_MS = 90_000;

/**
 * @param callers gateways to go to, the next one after each interruption
 * @param onEvent hears of each new frame as it comes, and of the turn's id
 * @throws Error when the turn has no `done` in time, or an answer that no retry helps
 */
export async function wholeTurn(
  callers: readonly Caller[],
  conversationId: string,
  body: object,
  onEvent: (event: ReceivedEvent, turnId: string) => void = () => undefined,
): Promise<WholeTurn> {
  const begin = performance.now();
  const key = randomUUID();
  const events: ReceivedEvent[] = [];
  let [turnId, numRefused, numStreams, maxGapMs, at] = ['', 0, 0, 0, begin];
  for (let tries = 0; performance.now() - begin < LIMIT_MS; tries += 1) {
    const caller = callers[tries % callers.length];
    if (caller === undefined) break;
    const headers = { 'idempotency-key': key };
    const attempt = (): Promise<TurnStream> =>
      turnId === ''
        ? takeTurn({ ...caller, headers }, conversationId, body)
        : resumeTurn(caller, conversationId, turnId, events.at(-1)?.id ?? 0);
    const stream = await attempt().catch(() => null);
    if (stream === null || stream.status >= 500) {
      numRefused += 1;
      stream?.close();
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      continue;
    }
    if (stream.status !== 200) throw new Error(`The answer was ${stream.status}.`);
    numStreams += 1;
    const limit = setTimeout(() => stream.close(), LIMIT_MS);
    const done = await stream.until((event) => {
      if (event.id <= (events.at(-1)?.id ?? 0)) throw new Error(`Frame ${event.id} came twice.`);
      const now = performance.now();
      [maxGapMs, at] = [Math.max(maxGapMs, now - at), now];
      turnId ||= String(event.data['turn_id']);
      events.push(event);
      onEvent(event, turnId);
      return event.event === 'done';
    });
    clearTimeout(limit);
    if (done === null) continue;
    await stream.ended;
    return {
      turnId,
      events,
      text: textOf(events),
      maxGapMs,
      totalMs: performance.now() - begin,
      numRefused,
      numResumed: numStreams - 1,
    };
  }
  throw new Error(`Turn ${turnId} had no done within ${LIMIT_MS} ms.`);
}
