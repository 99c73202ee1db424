// The Last-Event-ID header: an entry number, or a clear refusal.
import type { Request } from 'express';
import { AppError } from '../contracts/errors.ts';

/** 0 when the header is absent. @throws AppError INVALID_LAST_EVENT_ID unless it is a decimal integer of at most 15 digits */
export function lastEventId(request: Request): number {
  const header = request.get('last-event-id');
  if (header === undefined) return 0;
  if (!/^(?:0|[1-9]\d{0,14})$/.test(header)) {
    throw new AppError('INVALID_LAST_EVENT_ID', {
      message: 'Last-Event-ID must be the id of an event of this stream, a decimal integer.',
    });
  }
  return Number(header);
}
