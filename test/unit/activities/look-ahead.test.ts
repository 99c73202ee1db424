// A reply is held exactly while all of its readers are too far behind, and never for ever.
import { LookAhead } from '../../../activities/look-ahead.ts';
import { recallLog } from '../../../activities/recalled-log.ts';
import type { NumberedEntry } from '../../../contracts/turn-events.ts';
import type { ReadersState } from '../../../contracts/turn-log.ts';

const LOOK_MS = 100;
const MAX_MS = 1000;

beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

function set(numTokens: number) {
  const log = recallLog([{ n: 1, type: 'open', data: {} } as NumberedEntry], 1);
  const holds: boolean[] = [];
  let state: ReadersState | 'fail' = 'none';
  let numLooks = 0;
  const lookAhead = new LookAhead({
    ...{ numTokens, log, lookMs: LOOK_MS, maxHeldMs: MAX_MS },
    readers: async () => {
      numLooks += 1;
      if (state === 'fail') throw new Error('away');
      return state;
    },
    hold: (isHeld) => holds.push(isHeld),
  });
  /** One entry a token. */
  const sample = async (count: number): Promise<void> => {
    for (let each = 0; each < count; each += 1) {
      log.replies[0]?.outputIds.push(1);
      log.entries.push({ n: log.entries.length + 1, type: 'token', data: { text: 'a', ids: [1] } });
      lookAhead.onTokens();
      await jest.advanceTimersByTimeAsync(0);
    }
  };
  return {
    holds,
    sample,
    lookAhead,
    looks: () => numLooks,
    readersAre: (now: ReadersState | 'fail') => (state = now),
    pass: (ms: number) => jest.advanceTimersByTimeAsync(ms),
  };
}

describe('LookAhead', () => {
  it.each(['none', 'flowing', 'fail'] as const)(
    'lets a reply go on when its readers are: %s',
    async (state) => {
      const { holds, sample, readersAre, looks } = set(40);
      readersAre(state);
      await sample(400);
      expect(holds).toEqual([]);
      // After each quarter of the look-ahead and no more often.
      expect(looks()).toBe(36);
    },
  );

  it('holds it once the furthest reader is the look-ahead behind, and lets it go when a reader takes again', async () => {
    const { holds, sample, readersAre, pass } = set(40);
    readersAre(21); // that is 20 tokens
    await sample(50);
    expect(holds).toEqual([]);
    await sample(20);
    expect(holds).toEqual([true]);
    await pass(3 * LOOK_MS);
    readersAre('none'); // The one who stalled left; the grace decides.
    await pass(3 * LOOK_MS);
    expect(holds).toEqual([true]);
    readersAre('flowing');
    await pass(LOOK_MS);
    expect(holds).toEqual([true, false]);
  });

  it('lets it go for good when it was held long enough', async () => {
    const { holds, sample, readersAre, pass } = set(40);
    readersAre(1);
    await sample(60);
    expect(holds).toEqual([true]);
    await pass(MAX_MS);
    expect(holds).toEqual([true, false]);
    await sample(100);
    expect(holds).toEqual([true, false]);
  });

  it('does nothing more once it is stopped', async () => {
    const { holds, sample, readersAre, pass, lookAhead } = set(40);
    readersAre(1);
    await sample(60);
    lookAhead.stop();
    readersAre('flowing');
    await pass(MAX_MS);
    expect(holds).toEqual([true]);
  });
});
