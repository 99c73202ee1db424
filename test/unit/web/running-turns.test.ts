import { answerMemory } from '../../../web/src/answer-memory.ts';
import { runningTurns } from '../../../web/src/running-turns.ts';
import type { RunningTurn } from '../../../web/src/running-turns.ts';
import type { KeyValue } from '../../../web/src/saved.ts';
import { memoryStorage } from './turns.ts';

const forbidden: KeyValue = {
  getItem: () => {
    throw new Error('forbidden');
  },
  setItem: () => {
    throw new Error('forbidden');
  },
  removeItem: () => {
    throw new Error('forbidden');
  },
};

const running = (conversationId: string, more: Partial<RunningTurn> = {}): RunningTurn => ({
  post: null,
  conversationId,
  turnId: 't',
  userTurn: null,
  answeredTurnId: 'u',
  replacesTurnId: null,
  startedAtMs: 1000,
  ...more,
});

describe('runningTurns', () => {
  it('gives back after a reload what was saved before it', () => {
    const storage = memoryStorage();
    runningTurns(storage).save(running('a'));
    runningTurns(storage).save(running('b'));
    expect(
      runningTurns(storage)
        .all(2000)
        .map(({ conversationId }) => conversationId),
    ).toEqual(['a', 'b']);
  });

  it('keeps one turn a conversation, the latest', () => {
    const turns = runningTurns(memoryStorage());
    turns.save(running('a'));
    turns.save(running('a', { turnId: 'later' }));
    expect(turns.all(2000)).toEqual([running('a', { turnId: 'later' })]);
  });

  it('leaves nothing behind when the last one is removed', () => {
    const storage = memoryStorage();
    const turns = runningTurns(storage);
    turns.save(running('a'));
    turns.remove('a');
    expect([...storage.entries]).toEqual([]);
  });

  it('passes over turns whose stream has long expired', () => {
    const turns = runningTurns(memoryStorage());
    turns.save(running('a'));
    expect(turns.all(1000 + 7 * 3600_000)).toEqual([]);
  });

  it('passes over what is not a running turn', () => {
    const storage = memoryStorage();
    storage.setItem(
      'colloquy.running',
      JSON.stringify([null, 3, {}, running('a', { turnId: null }), running('b')]),
    );
    expect(runningTurns(storage).all(2000)).toEqual([running('b')]);
    storage.setItem('colloquy.running', '{');
    expect(runningTurns(storage).all(2000)).toEqual([]);
  });

  it('only forgets where storage is forbidden', () => {
    const turns = runningTurns(forbidden);
    turns.save(running('a'));
    expect(turns.all(2000)).toEqual([]);
  });
});

describe('answerMemory', () => {
  it('remembers after a reload, the newest 300', () => {
    const storage = memoryStorage();
    const memory = answerMemory(storage);
    for (let n = 0; n <= 300; n += 1) memory.set(String(n), { ttftMs: n, errorMessage: null });
    const again = answerMemory(storage);
    expect([again.get('0'), again.get('300')]).toEqual([null, { ttftMs: 300, errorMessage: null }]);
  });
});
