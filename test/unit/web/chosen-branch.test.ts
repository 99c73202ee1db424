import type { ApiClient } from '../../../web/src/api-client.ts';
import type { TurnPage } from '../../../web/src/api-types.ts';
import { pathInView, SIGNED_OUT } from '../../../web/src/app-state.ts';
import type { AppState } from '../../../web/src/app-state.ts';
import { createConversationActions } from '../../../web/src/conversation-actions.ts';
import type { ConversationActions } from '../../../web/src/conversation-actions.ts';
import { createStore } from '../../../web/src/store.ts';
import type { Store } from '../../../web/src/store.ts';
import { turn } from './turns.ts';

/** A message with two replies; the first was gone on with, the second is the newest. */
const TURNS = [turn('1', null), turn('2', '1'), turn('3', '2'), turn('4', '3'), turn('5', '1')];

function setUp(active: string): {
  actions: ConversationActions;
  store: Store<AppState>;
  chosen: string[];
  shown: () => string[];
} {
  const chosen: string[] = [];
  const page: TurnPage = {
    conversation: {
      conversation_id: 'c',
      title: null,
      model: 'm',
      active_turn_id: active,
      last_turn_at: '2026-11-24T00:00:00Z',
    },
    turns: TURNS,
    next_cursor: null,
  };
  const api = {
    conversation: async () => page,
    chooseBranch: async (id: string, turnId: string) => void chosen.push(`${id} ${turnId}`),
  } as unknown as ApiClient;
  const store = createStore(SIGNED_OUT);
  const actions = createConversationActions({
    api,
    store,
    showAddress: () => undefined,
    onUnauthenticated: () => undefined,
  });
  const shown = (): string[] => pathInView(store.get()).map((step) => step.turn.turn_id);
  return { actions, store, chosen, shown };
}

describe('a conversation with branches', () => {
  it('opens on the branch that it goes on with, though another one is newer', async () => {
    const { actions, shown } = setUp('4');
    await actions.show('c');
    expect(shown()).toEqual(['1', '2', '3', '4']);
  });

  it('tells the service which branch the reader has turned to, by the reply that it ends in', async () => {
    const { actions, chosen, shown } = setUp('5');
    await actions.show('c');
    expect(shown()).toEqual(['1', '5']);
    actions.choose('2');
    expect(shown()).toEqual(['1', '2', '3', '4']);
    expect(chosen).toEqual(['c 4']);
  });

  it('keeps what the reader has turned to when the conversation is read again', async () => {
    const { actions, shown } = setUp('5');
    await actions.show('c');
    actions.choose('2');
    await actions.reload('c');
    expect(shown()).toEqual(['1', '2', '3', '4']);
  });
});
