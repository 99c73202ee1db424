// The one place where a domain error becomes Temporal's: type = code, so that retry policies can name it. Messages are
// the table's, never the cause's, so that no text of users or drivers enters a history.
import { ApplicationFailure } from '@temporalio/common';
import { codeOf, ERROR_TABLE } from '../contracts/errors.ts';
import type { Logger } from '../process/logger.ts';

/** Wraps every activity of `activities` so that it throws only ApplicationFailure, and logs the cause once. */
export function translateFailures<
  Activities extends Record<string, (...args: never[]) => Promise<unknown>>,
>(activities: Activities, logger: Logger): Activities {
  const wrapped = Object.entries(activities).map(([name, activity]) => [
    name,
    async (...args: never[]) => {
      try {
        return await activity(...args);
      } catch (error) {
        if (error instanceof Error && error.name === 'CancelledFailure') throw error;
        const code = codeOf(error);
        const { publicMessage, retryable } = ERROR_TABLE[code];
        // INTERNAL is unknown, thus worth another try; what the table calls final is not.
        const nonRetryable = code !== 'INTERNAL' && !retryable;
        logger[nonRetryable ? 'info' : 'warn']({ error, activity: name, code }, 'activity failed');
        throw ApplicationFailure.create({ type: code, message: publicMessage, nonRetryable });
      }
    },
  ]);
  return Object.fromEntries(wrapped) as Activities;
}
