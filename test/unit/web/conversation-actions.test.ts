import { createApiClient } from '../../../web/src/api-client.ts';
import type { Turn } from '../../../web/src/api-types.ts';
import { pathInView, SIGNED_OUT } from '../../../web/src/app-state.ts';
import type { AppState } from '../../../web/src/app-state.ts';
import { createConversationActions } from '../../../web/src/conversation-actions.ts';
import { createStore } from '../../../web/src/store.ts';
import { turn } from './turns.ts';

const PAGE = 4;
const name = (index: number): string => String(index).padStart(3, '0');

/** A page on a service that has one conversation and shows its turns PAGE at a time. */
function pageOn(turns: readonly Turn[]) {
  const asked: (string | null)[] = [];
  const store = createStore<AppState>({ ...SIGNED_OUT, isSignedIn: true });
  const answer = async (path: string): Promise<Response> => {
    const before = new URL(path, 'http://page').searchParams.get('before');
    asked.push(before);
    const older = turns.filter(({ turn_id }) => before === null || turn_id < before);
    const page = older.slice(-PAGE);
    return Response.json({
      conversation: { conversation_id: 'c', title: 't', model: 'm', last_turn_at: '' },
      turns: page,
      next_cursor: older.length > PAGE ? page[0]?.turn_id : null,
    });
  };
  const conversations = createConversationActions({
    api: createApiClient(() => 'token', answer as unknown as typeof fetch),
    store,
    showAddress: () => undefined,
    onUnauthenticated: () => undefined,
  });
  const path = (): string[] => pathInView(store.get()).map((step) => step.turn.turn_id);
  return { asked, store, conversations, path };
}

/** 000 … in one line, message and answer by turns. */
function line(length: number): Turn[] {
  return Array.from({ length }, (_, index) =>
    turn(name(index), index === 0 ? null : name(index - 1), {
      role: index % 2 === 0 ? 'user' : 'assistant',
    }),
  );
}

describe('a conversation that is longer than a page', () => {
  it('is read page by page as the reader asks', async () => {
    const { asked, conversations, path } = pageOn(line(12));
    await conversations.show('c');
    expect([path()[0], asked]).toEqual(['008', [null]]);
    await conversations.loadOlderTurns();
    expect([path()[0], asked]).toEqual(['004', [null, '008']]);
  });

  it('counts the versions of a message whose others are pages away, when it is shown', async () => {
    // The second message is edited after ten more turns, and answered.
    const edited = turn('020', '001', { role: 'user', replaces_turn_id: '002' });
    const { asked, conversations, store } = pageOn([...line(14), edited, turn('021', '020')]);
    await conversations.show('c');
    const step = pathInView(store.get()).find(({ turn: { turn_id } }) => turn_id === '020');
    expect(step?.siblings.map(({ turn_id }) => turn_id)).toEqual(['002', '020']);
    expect(asked).toEqual([null, '012', '008', '004']);
  });

  it('reads no further than a bound for a count, and says that it is cut until the rest is read', async () => {
    const long = line(100);
    const edited = turn('200', '001', { role: 'user', replaces_turn_id: '002' });
    const { asked, conversations, store } = pageOn([...long, edited, turn('201', '200')]);
    await conversations.show('c');
    expect(asked).toHaveLength(11);
    expect(pathInView(store.get())[0]).toMatchObject({ isCut: true });
    while (store.get().open.nextCursor !== null) await conversations.loadOlderTurns();
    expect(pathInView(store.get()).every(({ isCut }) => !isCut)).toBe(true);
  });

  it('shows an earlier message each time it is asked to: pages of other branches are passed over', async () => {
    const edited = turn('020', '003', { role: 'user' });
    const { asked, conversations, path } = pageOn([...line(14), edited, turn('021', '020')]);
    await conversations.show('c');
    expect(path()).toEqual(['020', '021']);
    await conversations.loadOlderTurns();
    expect(path()).toEqual(['000', '001', '002', '003', '020', '021']);
    expect(asked).toEqual([null, '012', '008', '004']);
  });

  it('stops reading when the reader has gone elsewhere', async () => {
    const edited = turn('020', '001', { role: 'user', replaces_turn_id: '002' });
    const { asked, conversations, store } = pageOn([...line(14), edited, turn('021', '020')]);
    const shown = conversations.show('c');
    await conversations.show(null);
    await shown;
    expect([asked, store.get().open.turns]).toEqual([[null], []]);
  });
});
