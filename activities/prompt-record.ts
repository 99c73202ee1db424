// The proof that a prompt can be made again: a hash of the token ids that the engine got, kept with the request.
import { createHash } from 'node:crypto';
import type { TurnId, UserId } from '../contracts/ids.ts';
import { storePromptHash } from '../postgres/conversation-prompt.ts';
import type { Stores } from '../postgres/stores.ts';
import type { Logger } from '../process/logger.ts';

/** What tells two prompts apart, and nothing of them: SHA-256 of the ids, 32 bits each, little-endian. */
export function promptHash(tokenIds: readonly number[]): Buffer {
  const bytes = Buffer.alloc(tokenIds.length * 4);
  for (const [at, id] of tokenIds.entries()) bytes.writeUInt32LE(id, at * 4);
  return createHash('sha256').update(bytes).digest();
}

/** Never fails: a turn without its proof is a turn all the same. */
export async function recordPrompt(
  { stores, logger }: { readonly stores: Stores; readonly logger: Logger },
  { turnId, userId }: { readonly turnId: TurnId; readonly userId: UserId },
  tokenIds: readonly number[],
): Promise<void> {
  try {
    const isSame = await storePromptHash(stores.primaryOf(userId), turnId, promptHash(tokenIds));
    if (!isSame) logger.warn({ turnId }, 'an earlier attempt had another prompt');
  } catch (error) {
    logger.warn({ error, turnId }, 'the prompt’s hash was not stored');
  }
}
