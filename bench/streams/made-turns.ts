// Running turns without a model: rows and logs as the gateway makes them, and entries at a constant rate. Each entry's text
// says its number and when it was appended, so that a reader can tell what is missing and how late it is.
import { Client } from 'pg';
import { newConversationId, newTurnId } from '../../contracts/ids.ts';
import type { ConversationId, TurnId, UserId } from '../../contracts/ids.ts';
import type { TurnParams } from '../../contracts/turn-request.ts';
import type { TurnLogWriter } from '../../contracts/turn-log.ts';
import type { OwnGateway } from './own-gateway.ts';

export interface MadeTurn {
  readonly conversationId: ConversationId;
  readonly turnId: TurnId;
  /** Number of the last entry. */
  last: number;
}

const PARAMS: TurnParams = {
  maxTokens: 1000,
  temperature: 0,
  topP: 1,
  topK: 0,
  minP: 0,
  repetitionPenalty: 1,
  frequencyPenalty: 0,
  presencePenalty: 0,
  logitBias: [],
  seed: 1,
  n: 1,
  logprobs: null,
  stop: [],
  reasoning: false,
};

/** `<number>:<µs of the machine's monotonic clock>;` */
export function stampedText(n: number): string {
  return `${n}:${process.hrtime.bigint() / 1000n};`;
}

export async function makeTurns(
  gateway: OwnGateway,
  log: TurnLogWriter,
  count: number,
): Promise<MadeTurn[]> {
  const made = Array.from({ length: count }, () => ({
    conversationId: newConversationId(),
    turnId: newTurnId(),
    last: 1,
  }));
  const client = new Client({ connectionString: gateway.databaseUrl });
  await client.connect();
  await client.query(
    `insert into conversations (conversation_id, user_id, org_id, model, region)
     select unnest($1::uuid[]), user_id, org_id, 'colloquy-mini', 'local' from users where user_id = $2`,
    [made.map((each) => each.conversationId), gateway.userId],
  );
  await client.query(
    `insert into turn_requests (turn_id, user_turn_id, conversation_id, user_id, params, model, pool)
     select t, t, c, $3, $4, 'colloquy-mini', 'mini' from unnest($1::uuid[], $2::uuid[]) as made (t, c)`,
    [
      made.map((each) => each.turnId),
      made.map((each) => each.conversationId),
      gateway.userId,
      JSON.stringify(PARAMS),
    ],
  );
  await client.end();
  for (let from = 0; from < count; from += 500)
    await Promise.all(
      made.slice(from, from + 500).map(({ turnId, conversationId }) =>
        log.create(
          {
            turn_id: turnId,
            user_turn_id: turnId,
            conversation_id: conversationId,
            model: 'colloquy-mini',
            served_model: 'none',
            pool: 'mini',
          },
          { userId: gateway.userId as UserId, conversationId },
        ),
      ),
    );
  return made;
}

export interface Appending {
  /** Entries appended so far. */
  count(): number;
  stop(): Promise<void>;
}

/** Appends one entry to each turn in its order, again and again, `perSecond` in all; late ones are caught up, not left out. */
export function appendSteadily(
  log: TurnLogWriter,
  turns: readonly MadeTurn[],
  perSecond: number,
): Appending {
  const begun = performance.now();
  let appended = 0;
  const open = new Set<Promise<unknown>>();
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - begun) / 1000) * perSecond);
    for (; appended < due; appended += 1) {
      const turn = turns[appended % turns.length];
      if (turn === undefined) return;
      turn.last += 1;
      const data = { text: stampedText(turn.last), ids: [turn.last] };
      const append = log.append(turn.turnId, 1001, [{ n: turn.last, type: 'token', data }]);
      open.add(append);
      void append.finally(() => open.delete(append));
    }
  }, 2);
  return {
    count: () => appended,
    stop: async () => {
      clearInterval(timer);
      await Promise.all(open);
    },
  };
}
