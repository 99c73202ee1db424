import { KeyWatch } from '../../../gateway/key-watch.ts';

const LOOK_MS = 1000;

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

/** A watch over keys of which `good` are valid; null while the store is away. */
function setUp() {
  const state: { good: string[] | null; numLooks: number } = { good: [], numLooks: 0 };
  const errors: unknown[] = [];
  const watch = new KeyWatch({
    lookMs: LOOK_MS,
    onError: (error) => errors.push(error),
    valid: async (hashes) => {
      state.numLooks += 1;
      if (state.good === null) throw new Error('away');
      return hashes.filter((hash) => state.good?.includes(hash.toString()));
    },
  });
  const closed: string[] = [];
  const open = (key: string, name = key): (() => void) =>
    watch.watch(Buffer.from(key), { close: () => void closed.push(name) });
  const looks = (count: number): Promise<void> => jest.advanceTimersByTimeAsync(LOOK_MS * count);
  return { watch, state, errors, closed, open, looks };
}

describe('KeyWatch', () => {
  it('closes every stream of a key that is no longer good, and no other', async () => {
    const { watch, state, closed, open, looks } = setUp();
    state.good = ['one', 'two'];
    open('one', 'one/1');
    open('one', 'one/2');
    open('two');
    await looks(2);
    expect(closed).toEqual([]);
    state.good = ['two'];
    await looks(2);
    watch.stop();
    expect(new Set(closed)).toEqual(new Set(['one/1', 'one/2']));
  });

  it('lets streams go on while the store is away, says so once, and looks again', async () => {
    const { watch, state, errors, closed, open, looks } = setUp();
    state.good = null;
    open('one');
    await looks(3);
    expect([closed, errors.length]).toEqual([[], 1]);
    state.good = [];
    await looks(2);
    watch.stop();
    expect(closed).toContain('one');
  });

  it('does not touch a stream that has ended, and rests when there is none', async () => {
    const { watch, state, closed, open, looks } = setUp();
    state.good = [];
    const leave = open('one');
    leave();
    const { numLooks } = state;
    const stay = open('two');
    await looks(1);
    stay();
    await looks(3);
    expect(closed).toEqual(['two']);
    expect(state.numLooks - numLooks).toBeLessThanOrEqual(2);
    watch.stop();
  });
});
