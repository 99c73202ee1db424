// When a gateway dies, all of its readers come to the others at once.
import type { RequestHandler } from 'express';
import type { OpenStreams } from './open-streams.ts';
import { STREAM_OPENED } from './sse.ts';

/** Relative to /v1. */
const STREAM_PATH = /^\/conversations\/[^/]+\/turns\/[^/]+\/stream$/;

/**
 * Readers that come back are let in a few at a time, from their credentials to their first entries, so that the text of
 * those who are there waits for a millisecond or two and not for all of them. First below /v1.
 */
export function resumesInTurn({ resumes }: Pick<OpenStreams, 'resumes'>): RequestHandler {
  return (request, response, next) => {
    if (request.method !== 'GET' || !STREAM_PATH.test(request.path)) {
      next();
      return;
    }
    const answered = (): Promise<void> =>
      new Promise((resolve) => {
        response.once(STREAM_OPENED, resolve);
        response.once('close', resolve);
        if (response.closed) resolve();
        else next();
      });
    void resumes.pass(answered);
  };
}
