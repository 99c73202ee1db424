// What a prompt's rows cost: the statements of its assembly on the running system's store, with a tokenizer that costs nothing.
import { assemblePrompt } from '../../activities/prompt-source.ts';
import type { Catalog } from '../../contracts/catalog.ts';
import type { ConversationId, TurnId } from '../../contracts/ids.ts';
import { createPool } from '../../postgres/pool.ts';
import type { LongTurn } from './long-conversation.ts';

const CONTEXT_LENGTH = 8192;

/** Milliseconds of each reading, the turns' in turn so that a slow moment is everybody's. */
export async function databaseTimes(
  url: string,
  catalog: Catalog,
  conversationId: string,
  turns: readonly LongTurn[],
  numReadings: number,
): Promise<Map<number, number[]>> {
  const db = createPool({ url, poolSize: 2 }, () => undefined);
  const times = new Map<number, number[]>(turns.map(({ turn }) => [turn, []]));
  const deps = { db, catalog, contextLength: CONTEXT_LENGTH, encode: () => [] };
  const numWarm = 20;
  for (let reading = 0; reading < numReadings + numWarm; reading += 1)
    for (const { turn, turnId, userTurnId } of turns) {
      const keys = {
        conversationId: conversationId as ConversationId,
        turnId: turnId as TurnId,
        userTurnId: userTurnId as TurnId,
      };
      const begun = performance.now();
      const assembled = await assemblePrompt(deps, keys, false);
      if (assembled?.plan == null) throw new Error(`turn ${turn} has no prompt`);
      if (reading >= numWarm) times.get(turn)?.push(performance.now() - begun);
    }
  await db.end();
  return times;
}
