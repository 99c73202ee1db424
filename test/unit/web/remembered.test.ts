import { createApiClient } from '../../../web/src/api-client.ts';
import { SIGNED_OUT } from '../../../web/src/app-state.ts';
import { createRemembered, usedWords } from '../../../web/src/remembered.ts';
import { createStore } from '../../../web/src/store.ts';

const TEA = { fact_id: 'a', text: 'The user likes tea.' };
const OSLO = { fact_id: 'b', text: 'The user lives in Oslo.' };

/** The page's part that remembers, before a service that answers what the test says. */
function page(answers: Record<string, unknown>) {
  const sent: string[] = [];
  const failures: string[] = [];
  const store = createStore(SIGNED_OUT);
  const api = createApiClient(() => 'token', (async (path: string, init: RequestInit) => {
    const asked = `${init.method ?? ''} ${path}`;
    sent.push(typeof init.body === 'string' ? `${asked} ${init.body}` : asked);
    return asked in answers ? Response.json(answers[asked]) : new Response('{}', { status: 500 });
  }) as typeof fetch);
  const failed = (error: Error): void => void failures.push(error.message);
  return { sent, failures, store, remembered: createRemembered({ api, store, failed }) };
}

const MEMORY = '/v1/users/me/memory';
const SETTINGS = '/v1/users/me/settings';
const READ = {
  [`GET ${MEMORY}`]: { facts: [TEA] },
  [`GET ${SETTINGS}`]: { memory_enabled: false },
};

describe('what is remembered', () => {
  it('is read with its switch, and read again only for facts that are not known', async () => {
    const { sent, store, remembered } = page(READ);
    await remembered.load();
    expect(store.get().remembered).toEqual({ facts: [TEA], isEnabled: false });
    await remembered.know(['a']);
    await remembered.know([]);
    expect(sent).toHaveLength(2);
    await remembered.know(['a', 'b']);
    expect(sent).toHaveLength(4);
  });

  it('is what the service says after a change', async () => {
    const { sent, store, remembered } = page({
      [`PATCH ${MEMORY}`]: { facts: [TEA, OSLO] },
      [`DELETE ${MEMORY}`]: null,
      [`PATCH ${SETTINGS}`]: { memory_enabled: false },
    });
    await remembered.change({ add: ['x'], edit: [TEA], remove: ['c'] });
    expect(sent).toEqual([
      `PATCH ${MEMORY} ${JSON.stringify({ add: ['x'], edit: [TEA], remove: ['c'] })}`,
    ]);
    expect(store.get().remembered.facts).toEqual([TEA, OSLO]);
    await remembered.setEnabled(false);
    await remembered.forgetAll();
    expect(store.get().remembered).toEqual({ facts: [], isEnabled: false });
  });

  it('stays as it was when the service refuses, and the views show that again', async () => {
    const { failures, store, remembered } = page(READ);
    await remembered.load();
    const before = store.get().remembered;
    await remembered.setEnabled(true);
    expect(failures).toHaveLength(1);
    expect(store.get().remembered).toEqual(before);
    expect(store.get().remembered).not.toBe(before);
  });
});

describe('usedWords', () => {
  it('names what an answer was told and is still remembered, in order', () => {
    expect(usedWords(['b', 'gone', 'a'], [TEA, OSLO])).toBe(
      'Used: The user lives in Oslo. · The user likes tea.',
    );
    expect(usedWords(['gone'], [TEA])).toBeNull();
    expect(usedWords([], [TEA])).toBeNull();
  });
});
