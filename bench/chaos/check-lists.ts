// The conversation as a list: every acknowledged value once, nothing that nobody asked for, one chain, in the order of time.
import { grouped } from './anomaly.ts';
import type { Anomaly, Run } from './anomaly.ts';
import type { FinalTurn, PostOperation } from './history.ts';

export function checkLists(run: Run): Anomaly[] {
  return [...checkValues(run), ...checkKeys(run), ...checkChains(run), ...checkTimes(run)];
}

function checkValues(run: Run): Anomaly[] {
  const found: Anomaly[] = [];
  const asked = grouped(run.posts, ({ value }) => String(value));
  const present = new Map<string, { conversation: string; turn: FinalTurn }[]>();
  for (const { id: conversation, turns } of run.final.conversations)
    for (const turn of turns.filter(({ role }) => role === 'user'))
      present.set(turn.content, [...(present.get(turn.content) ?? []), { conversation, turn }]);
  for (const [value, attempts] of asked) {
    const [first] = attempts;
    const conversation = first?.conversation ?? '';
    const places = present.get(value) ?? [];
    const accepted = attempts.find(({ outcome }) => outcome === 'accepted');
    if (accepted !== undefined && places.length === 0)
      found.push({
        kind: 'lost',
        detail: `${value} was acknowledged`,
        conversation,
        at: accepted.end,
      });
    if (places.length > 1)
      found.push({
        kind: 'doubled',
        detail: `${value} is there ${places.length} times`,
        conversation,
      });
    if (places.some((place) => place.conversation !== conversation))
      found.push({
        kind: 'misplaced',
        detail: `${value} is in another conversation`,
        conversation,
      });
    if (places.length > 0 && attempts.every(({ outcome }) => outcome === 'refused'))
      found.push({ kind: 'refused-but-present', detail: `${value} was refused`, conversation });
  }
  for (const [value, places] of present)
    if (!asked.has(value))
      found.push({
        kind: 'phantom',
        detail: `nobody posted ${JSON.stringify(value)}`,
        conversation: places[0]?.conversation ?? '',
      });
  return found;
}

/** Attempts with one key are one turn, and each acknowledged turn has its reply. */
function checkKeys(run: Run): Anomaly[] {
  const found: Anomaly[] = [];
  const accepted = run.posts.filter(isAccepted);
  for (const [key, attempts] of grouped(accepted, (each) => each.key)) {
    const turnIds = new Set(attempts.map(({ turnId }) => turnId));
    const [first] = attempts;
    if (first === undefined) continue;
    const { conversation, value } = first;
    if (turnIds.size > 1)
      found.push({
        kind: 'key-made-two-turns',
        detail: `${key} of ${value}: ${[...turnIds].join(' and ')}`,
        conversation,
      });
    for (const turnId of turnIds)
      if (run.reply(turnId) === undefined)
        found.push({
          kind: 'lost-reply',
          detail: `the turn of ${value} was acknowledged and has no stored reply`,
          conversation,
          turnId,
          at: first.end,
        });
  }
  return found;
}

/** No client names a parent, so a conversation is one chain: message, reply, message … and its newest turn is the active one. */
function checkChains(run: Run): Anomaly[] {
  const found: Anomaly[] = [];
  for (const { id: conversation, activeTurnId, turns } of run.final.conversations) {
    turns.forEach((turn, index) => {
      const before = turns[index - 1];
      const expected = turn.role === 'user' ? 'assistant' : 'user';
      if (
        turn.parentTurnId !== (before?.turnId ?? null) ||
        (before !== undefined && before.role !== expected)
      )
        found.push({
          kind: 'forked',
          detail: `turn ${index} (${turn.role}) hangs below ${turn.parentTurnId}, not below the turn before it`,
          conversation,
          turnId: turn.turnId,
        });
    });
    const last = turns.at(-1);
    if (last !== undefined && last.role === 'assistant' && activeTurnId !== last.turnId)
      found.push({
        kind: 'wrong-end',
        detail: `the conversation goes on from ${activeTurnId}, not from its last turn`,
        conversation,
        turnId: last.turnId,
      });
  }
  return found;
}

/** What was acknowledged before another attempt began stands before it. */
function checkTimes(run: Run): Anomaly[] {
  const found: Anomaly[] = [];
  for (const [conversation, all] of grouped(run.posts, (each) => each.conversation)) {
    const place = new Map<number, number>();
    (run.listOf.get(conversation) ?? []).forEach(({ content, role }, index) => {
      if (role === 'user' && !place.has(Number(content))) place.set(Number(content), index);
    });
    const firstOf = new Map<number, { begin: number; acknowledged: number }>();
    for (const { value, begin, end, outcome } of all) {
      const known = firstOf.get(value) ?? { begin: Infinity, acknowledged: Infinity };
      const acknowledged = outcome === 'accepted' ? end : Infinity;
      firstOf.set(value, {
        begin: Math.min(known.begin, begin),
        acknowledged: Math.min(known.acknowledged, acknowledged),
      });
    }
    // By begin; the latest place of anything acknowledged so far must be before it.
    const byBegin = [...firstOf].sort(([, one], [, other]) => one.begin - other.begin);
    const byEnd = [...firstOf].sort(([, one], [, other]) => one.acknowledged - other.acknowledged);
    let next = 0;
    let furthest = { value: NaN, index: -1 };
    for (const [value, { begin }] of byBegin) {
      for (let each = byEnd[next]; each !== undefined && each[1].acknowledged < begin;) {
        const index = place.get(each[0]) ?? -1;
        if (index > furthest.index) furthest = { value: each[0], index };
        each = byEnd[(next += 1)];
      }
      const index = place.get(value);
      if (index !== undefined && index < furthest.index)
        found.push({
          kind: 'reordered',
          detail: `${furthest.value} was acknowledged before ${value} was sent and stands behind it`,
          conversation,
          at: begin,
        });
    }
  }
  return found;
}

function isAccepted(each: PostOperation): each is PostOperation & { readonly turnId: string } {
  return each.outcome === 'accepted' && each.turnId !== undefined;
}
