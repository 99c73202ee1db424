// A turn's prompt for its owner: assembled again from the stored rows, with the proof that it is what the engine got.
import { assemblePrompt } from '../activities/prompt-source.ts';
import { promptHash } from '../activities/prompt-record.ts';
import type { WirePromptPart, WireTurnPrompt } from '../contracts/api.ts';
import { AppError } from '../contracts/errors.ts';
import type { Db } from '../postgres/pool.ts';
import type { StoredRequest } from '../postgres/turn-requests.ts';
import type { GatewayDeps } from './deps.ts';

type Assembled = NonNullable<Awaited<ReturnType<typeof assemblePrompt>>>;
type Part = NonNullable<Assembled['plan']>['messages'][number]['parts'][number];

/**
 * @throws AppError TURN_NOT_FOUND when the message is not stored (yet), CONTEXT_LENGTH_EXCEEDED when no prompt could be
 * made, STORAGE_UNAVAILABLE when this gateway lacks the pool's vocabulary
 */
export async function shownPrompt(
  { catalog, encoderOf }: GatewayDeps,
  db: Db,
  request: StoredRequest,
): Promise<WireTurnPrompt> {
  const { turnId, userTurnId, model, pool } = request;
  const encoder = encoderOf(pool);
  const contextLength = catalog.pools[pool]?.context_length;
  if (encoder === null || contextLength === undefined)
    throw new AppError('STORAGE_UNAVAILABLE', {
      message: 'This gateway has no vocabulary of the pool that answered.',
    });
  const deps = {
    db,
    catalog,
    contextLength,
    encode: encoder.encodePrompt.bind(encoder),
  };
  const assembled = await assemblePrompt(deps, request, false);
  if (assembled === null || assembled.isMissing) throw new AppError('TURN_NOT_FOUND');
  const { plan, room } = assembled;
  if (plan === null) throw new AppError('CONTEXT_LENGTH_EXCEEDED');
  const sha256 = promptHash(plan.tokenIds).toString('hex');
  const engineSha256 = assembled.request.promptSha256?.toString('hex') ?? null;
  const { turns, emptyTurnIds, summaryIds, factIds } = plan.leftOut;
  return {
    turn_id: turnId,
    user_turn_id: userTurnId,
    model,
    pool,
    messages: plan.messages.map(({ role, content, parts }) => ({
      role,
      content,
      parts: parts.map(wirePart),
    })),
    token_count: plan.tokenIds.length,
    max_prompt_tokens: room,
    left_out: {
      turns,
      empty_turn_ids: [...emptyTurnIds],
      summary_ids: [...summaryIds],
      fact_ids: [...factIds],
    },
    sha256,
    engine_sha256: engineSha256,
    matches_engine: engineSha256 === null ? null : engineSha256 === sha256,
  };
}

function wirePart(part: Part): WirePromptPart {
  switch (part.kind) {
    case 'system':
      return { kind: 'system', text: part.text };
    case 'summary': {
      const { nodeId, level, firstTurnId, lastTurnId, text } = part.node;
      const range = { first_turn_id: firstTurnId, last_turn_id: lastTurnId };
      return { kind: 'summary', summary_id: nodeId, level, ...range, text };
    }
    case 'fact': {
      const { factId, text, day } = part.fact;
      return { kind: 'fact', fact_id: factId, text, day };
    }
    case 'turn':
      return { kind: 'turn', turn_id: part.turnId, text: part.text };
  }
}
