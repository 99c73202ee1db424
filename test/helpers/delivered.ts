// The claim that a turn was stored and billed as it was delivered, whether it was cut or not.
import type { TurnAudit } from './turn-audit.ts';
import type { FollowedTurn } from './turn-follower.ts';

/** It ended for one of `reasons`; and reader, log, store and bill say the same. Resolves with the reason. */
export async function expectDelivered(
  audit: TurnAudit,
  turn: FollowedTurn,
  reasons: readonly string[] = ['cancelled'],
): Promise<string> {
  await turn.done;
  const { finish_reason: reason, usage } = (turn.events.at(-1)?.data ?? {}) as {
    finish_reason: string;
    usage: { completion_tokens: number };
  };
  expect(reasons).toContain(reason);
  const { replies, ledger, loggedTokens } = await audit.recordOf(turn.turnId);
  const completion_tokens = usage.completion_tokens;
  expect(replies).toEqual([{ content: turn.text, finish_reason: reason, completion_tokens }]);
  expect(ledger).toMatchObject([{ completion_tokens }]);
  if (loggedTokens > 0) expect(loggedTokens).toBe(completion_tokens);
  return reason;
}
