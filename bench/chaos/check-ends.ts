// What is over is over: every turn answered, as it was asked for, and billed once; nothing of any turn left behind.
import { grouped } from './anomaly.ts';
import type { Anomaly, Run } from './anomaly.ts';
import type { CallOperation, FinalTurn } from './history.ts';

/** A reader that is away for less than this keeps its turn (the grace is 15 s). */
const AWAY_MS = 10_000;
/** A reservation is settled in three tries; a fault so near the end of its turn may have met all of them. */
const SETTLE_MS = 15_000;

export function checkEnds(run: Run): Anomaly[] {
  return [
    ...checkReplies(run),
    ...checkBills(run),
    ...checkLeftovers(run),
    ...checkLeases(run),
    ...checkStatuses(run),
  ];
}

function checkReplies(run: Run): Anomaly[] {
  const found: Anomaly[] = [];
  const cancelled = new Set(
    run.history.flatMap((each) =>
      each.op === 'call' && each.what === 'cancel' ? [each.turnId ?? each.conversation] : [],
    ),
  );
  const attended = new Set(
    run.streams
      .filter((each) => each.after === 0 && !each.hasLeft && each.longestAwayMs < AWAY_MS)
      .map(({ turnId }) => turnId),
  );
  for (const { id: conversation, turns } of run.final.conversations) {
    turns.forEach(({ role, turnId, content }, index) => {
      if (role === 'user' && turns[index + 1]?.role !== 'assistant')
        found.push({ kind: 'no-reply', detail: `to ${content}`, conversation, turnId });
    });
    for (const { role, turnId, finishReason, errorCode, createdAt: at } of turns) {
      if (role !== 'assistant') continue;
      const place = { conversation, turnId, at };
      if (finishReason === 'error')
        found.push({ kind: 'failed-turn', detail: errorCode ?? 'without a code', ...place });
      if (finishReason === 'cancelled' && !cancelled.has(turnId) && attended.has(turnId))
        found.push({
          kind: 'cancelled-unasked',
          detail: 'nobody cancelled it and its reader stayed',
          ...place,
        });
    }
  }
  return found;
}

function checkBills(run: Run): Anomaly[] {
  const found: Anomaly[] = [];
  const bills = grouped(run.final.ledger, ({ turnId }) => turnId);
  for (const { id: conversation, turns } of run.final.conversations) {
    for (const turn of turns.filter(({ role }) => role === 'assistant')) {
      const { turnId } = turn;
      const [bill, ...more] = bills.get(turnId) ?? [];
      if (bill === undefined)
        found.push({ kind: 'unbilled', detail: 'no row in the ledger', conversation, turnId });
      else if (more.length > 0)
        found.push({
          kind: 'billed-twice',
          detail: `${more.length + 1} rows in the ledger`,
          conversation,
          turnId,
        });
      else if (!isBilled(turn, bill))
        found.push({
          kind: 'bill-differs',
          detail: `${bill.promptTokens} + ${bill.completionTokens} tokens, $${bill.costUsd} on the bill; ${turn.promptTokens} + ${turn.completionTokens}, $${turn.costUsd} used`,
          conversation,
          turnId,
        });
    }
  }
  for (const { turnId, conversation } of run.final.ledger)
    if (run.listOf.has(conversation) && run.reply(turnId) === undefined)
      found.push({
        kind: 'billed-for-nothing',
        detail: 'a row in the ledger without a reply',
        conversation,
        turnId,
      });
  return found;
}

function isBilled(turn: FinalTurn, bill: Run['final']['ledger'][number]): boolean {
  return (
    bill.promptTokens === turn.promptTokens &&
    bill.completionTokens === turn.completionTokens &&
    Math.abs(bill.costUsd - (turn.costUsd ?? NaN)) < 1e-9
  );
}

function checkLeftovers({ final }: Run): Anomaly[] {
  return [
    ...final.openRequests.map((turnId) => ({
      kind: 'still-generating',
      detail: 'the accepted turn has not ended',
      turnId,
    })),
    ...final.openWorkflows.map((id) => ({ kind: 'open-workflow', detail: id })),
    ...final.keysWithoutTtl.map((key) => ({ kind: 'key-without-ttl', detail: key })),
    ...Object.entries(final.usedBlocks)
      .filter(([, used]) => used > 0)
      .map(([name, used]) => ({ kind: 'leaked-blocks', detail: `${name}: ${used}` })),
  ];
}

/** A lease of a turn that ended in quiet times is settled. One whose settling met a fault comes back by itself, as promised. */
function checkLeases(run: Run): Anomaly[] {
  return run.final.leases.flatMap(({ turnId, expiresInMs }) => {
    const reply = run.reply(turnId);
    if (reply === undefined) return [];
    const at = reply.createdAt;
    const isExcused = run.faults.some(
      ({ begin, end }) => begin - SETTLE_MS < at && at < end + SETTLE_MS,
    );
    return isExcused
      ? []
      : [
          {
            kind: 'unsettled',
            detail: `its reservation is held for ${Math.round(expiresInMs / 1000)} s more`,
            turnId,
            at,
          },
        ];
  });
}

const EXPECTED: Readonly<Record<CallOperation['what'] | 'post', readonly number[]>> = {
  post: [0, 200, 429, 503],
  cancel: [0, 204, 503],
  create: [0, 201, 503],
  read: [0, 200, 503],
  resume: [0, 200, 503],
};

function checkStatuses({ history }: Run): Anomaly[] {
  return history.flatMap((each) => {
    if (each.op !== 'post' && each.op !== 'call') return [];
    const what = each.op === 'post' ? 'post' : each.what;
    const isConflict = what === 'post' && each.status === 409 && each.code === 'turn_conflict';
    if (EXPECTED[what].includes(each.status) || isConflict) return [];
    const { conversation, end: at } = each;
    const turnId = each.turnId === undefined ? {} : { turnId: each.turnId };
    return [
      {
        kind: 'unexpected-status',
        detail: `${what} was answered ${each.status} ${each.code ?? ''}`.trim(),
        conversation,
        at,
        ...turnId,
      },
    ];
  });
}
