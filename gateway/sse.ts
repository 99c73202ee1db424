// Server-sent events on the wire. Source: WHATWG HTML, §9.2 (server-sent events).
import type { Response } from 'express';

/** Emitted by a response that has become a stream. */
export const STREAM_OPENED = 'stream opened';

/**
 * Headers of every stream: nothing in between may buffer, change or keep it.
 * @param first sent with the headers, in one write
 * @returns false when the reader has no room for more
 */
export function openEventStream(response: Response, first = ''): boolean {
  response.status(200).set({
    'Content-Type': 'text/event-stream; charset=utf-8',
    'Cache-Control': 'no-cache, no-transform',
    'X-Accel-Buffering': 'no',
    Connection: 'keep-alive',
  });
  if (first === '') response.flushHeaders();
  const hasRoom = first === '' || response.write(first);
  forgetRequest(response);
  response.emit(STREAM_OPENED);
  return hasRoom;
}

/**
 * Lets go of what answering needed and streaming does not: the request's headers, and the router's state behind `next`. A
 * stream may be open for an hour, and there are thousands.
 */
function forgetRequest({ req }: Response): void {
  if (req === undefined) return;
  delete req.next;
  req.headers = {};
  req.rawHeaders = [];
}

/**
 * One frame. The data is JSON, which has no line breaks of its own (they are escaped), so one `data:` line holds it;
 * U+2028 and lone surrogates are escaped or replaced by JSON and UTF-8, and NUL is escaped.
 * @param event one of our own names, letters only
 */
export function frame(id: number, event: string, data: object): string {
  return `id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}

/** A comment: keeps proxies and clients from taking a quiet stream for a dead one. */
export const HEARTBEAT = ': heartbeat\n\n';

/** Tells the client when to come back, before a stream is closed that it should resume. */
export function reconnectAfter(ms: number): string {
  return `retry: ${ms}\n\n`;
}
