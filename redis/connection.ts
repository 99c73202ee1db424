// Connections to Redis: one for commands with the Lua scripts loaded, and one for each subscriber.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { AppError } from '../contracts/errors.ts';

export type { Redis };

/** A client whose scripts run by name through `runScript`. */
export interface RedisSettings {
  readonly url: string;
  /** The folder redis/lua. */
  readonly scriptsFolder: string;
  readonly onError: (error: Error) => void;
  /** A command without an answer for this long has failed; default 2000. */
  readonly answerMs?: number;
}

/** Connects lazily and for ever; a command that cannot be sent fails within about a second instead of waiting. */
export function connectRedis(settings: RedisSettings): Redis {
  const client = new Redis(settings.url, {
    maxRetriesPerRequest: 1,
    connectTimeout: 1000,
    commandTimeout: settings.answerMs ?? 2000,
    keepAlive: 30_000,
    retryStrategy: (attempt) =>
      Math.min(50 * 2 ** Math.min(attempt, 6), 1000) * (0.75 + Math.random() / 2),
    replyMapping: 'legacy',
  });
  client.on('error', settings.onError);
  for (const file of readdirSync(settings.scriptsFolder)) {
    const match = /^([a-z]+)-(\d+)\.lua$/.exec(file);
    if (match === null) continue;
    const lua = readFileSync(join(settings.scriptsFolder, file), 'utf8');
    client.defineCommand(`colloquy:${match[1]}`, { numberOfKeys: Number(match[2]), lua });
  }
  return client;
}

/** A second connection of the same settings for subscriptions; it never times out waiting and re-subscribes by itself. */
export function connectSubscriber(client: Redis, onError: (error: Error) => void): Redis {
  const subscriber = client.duplicate({ maxRetriesPerRequest: null, autoResubscribe: true });
  subscriber.on('error', onError);
  return subscriber;
}

/**
 * Runs the script `redis/lua/<name>-<n>.lua`.
 * @throws AppError STREAM_UNAVAILABLE when Redis does not answer
 */
export async function runScript(
  client: Redis,
  name: string,
  keys: readonly string[],
  args: readonly (string | number)[],
): Promise<unknown> {
  const command = (
    client as unknown as Record<string, (...all: (string | number)[]) => Promise<unknown>>
  )[`colloquy:${name}`];
  if (command === undefined)
    throw new AppError('INVARIANT_VIOLATED', { message: `there is no script ${name}` });
  try {
    return await command.call(client, ...keys, ...args);
  } catch (error) {
    throw new AppError('STREAM_UNAVAILABLE', { cause: error });
  }
}
