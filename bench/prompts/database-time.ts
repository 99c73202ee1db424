// What a prompt's rows cost: the statements of its assembly on the running system's store, with a tokenizer that costs nothing.
import { assemblePrompt } from '../../activities/prompt-source.ts';
import type { Catalog } from '../../contracts/catalog.ts';
import type { ConversationId, TurnId } from '../../contracts/ids.ts';
import { createPool } from '../../postgres/pool.ts';
import type { LongConversation } from './long-conversation.ts';

const CONTEXT_LENGTH = 8192;
const NUM_WARM = 20;

/** Milliseconds of each reading by turn id; the turns are read by turns, so that a slow moment is everybody's. */
export async function databaseTimes(
  url: string,
  catalog: Catalog,
  conversations: readonly LongConversation[],
  numReadings: number,
): Promise<Map<string, number[]>> {
  const db = createPool({ url, poolSize: 2 }, () => undefined);
  const times = new Map<string, number[]>();
  const deps = { db, catalog, contextLength: CONTEXT_LENGTH, encode: () => [] };
  const all = conversations.flatMap(({ conversationId, turns }) =>
    turns.map((turn) => ({ ...turn, conversationId })),
  );
  for (let reading = -NUM_WARM; reading < numReadings; reading += 1)
    for (const { conversationId, turn, turnId, userTurnId } of all) {
      const keys = {
        conversationId: conversationId as ConversationId,
        turnId: turnId as TurnId,
        userTurnId: userTurnId as TurnId,
      };
      const begun = performance.now();
      const assembled = await assemblePrompt(deps, keys, false);
      if (assembled?.plan == null) throw new Error(`turn ${turn} has no prompt`);
      const spent = performance.now() - begun;
      if (reading >= 0) times.set(turnId, [...(times.get(turnId) ?? []), spent]);
    }
  await db.end();
  return times;
}
