// One pino logger a process; children bind component and ids. Messages are constant strings, data are fields; never
// prompt or reply text, tokens or secrets at any level.
import pino from 'pino';
import type { Logger } from 'pino';
import type { Config } from './config.ts';

export type { Logger };

/** @param kind what the process is (gateway, turn-worker …), bound to each line with its name */
export function createLogger(
  kind: string,
  config: Pick<Config, 'logLevel' | 'processName'>,
): Logger {
  return pino({
    level: config.logLevel,
    base: { kind, name: config.processName === '' ? kind : config.processName, pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    // The message of a driver's error may quote a statement's values; its code and stack frames tell enough.
    serializers: { error: describeError },
  });
}

/** An error as log fields: name, code, message of our own errors only, where it happened, and the chain of causes. */
export function describeError(error: unknown): unknown {
  if (!(typeof error === 'object' && error !== null && 'message' in error))
    return { name: typeof error };
  const { name, code, message, stack, cause } = error as Error & { code?: unknown };
  const isOurs =
    name === 'AppError' ||
    name === 'SystemError' ||
    (typeof code === 'string' && /^E[A-Z]+$/.test(code));
  const frames = stack
    ?.split('\n')
    .filter((line) => /^\s+at /.test(line))
    .slice(0, 6)
    .map((line) => line.trim());
  return {
    name,
    ...(code === undefined ? {} : { code }),
    ...(isOurs ? { message } : {}),
    frames,
    ...(cause === undefined ? {} : { cause: describeError(cause) }),
  };
}
