// The live turns of the state: putting one in, moving it on, turning the view to it. Knows nothing of streams' making.
import { nextAnswer } from './answer.ts';
import { isPending, knownTurns, liveAnswerTurn } from './app-state.ts';
import type { AppState, LiveTurn } from './app-state.ts';
import { choosing } from './branches.ts';
import type { Store } from './store.ts';
import type { TurnUpdate } from './turn-stream.ts';

/** Null takes the conversation's live turn out. */
export function setLive(
  store: Store<AppState>,
  conversationId: string,
  live: LiveTurn | null,
): void {
  const map = new Map(store.get().live);
  if (live === null) map.delete(conversationId);
  else map.set(conversationId, live);
  store.set({ live: map });
}

/** Turns the view to the branch of the live turn, when its conversation is in view. */
export function showLive(store: Store<AppState>, conversationId: string): void {
  const { open, live } = store.get();
  const turn = live.get(conversationId);
  if (open.id !== conversationId || turn === undefined) return;
  const choices = choosing(knownTurns(open, turn), open.choices, liveAnswerTurn(turn).turn_id);
  store.set({ open: { ...open, choices } });
}

/**
 * The live turn after an update; when its stream opens, stand-in ids give way to the service's. Pure.
 * @param isJoined see nextAnswer()
 */
export function afterUpdate(
  live: LiveTurn,
  update: TurnUpdate,
  nowMs: number,
  isJoined: boolean,
): LiveTurn {
  const answer = nextAnswer(live.answer, update, nowMs, isJoined);
  if (answer.open === null || answer.open === live.answer.open) return { ...live, answer };
  const { user_turn_id } = answer.open;
  const { userTurn } = live;
  const isNamed = userTurn !== null && isPending(userTurn.turn_id);
  return {
    ...live,
    answer,
    userTurn: isNamed ? { ...userTurn, turn_id: user_turn_id } : userTurn,
    answeredTurnId: user_turn_id,
  };
}
