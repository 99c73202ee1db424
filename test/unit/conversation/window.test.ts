import fc from 'fast-check';
import { planPrompt } from '../../../conversation/prompt.ts';
import { windowStart } from '../../../conversation/window.ts';
import type { WindowTurn } from '../../../conversation/window.ts';
import { branchOf, encodeCharacters, materialOf, turnIdOf } from '../../helpers/prompt-turns.ts';

const turnsOf = (costs: readonly number[]): WindowTurn[] =>
  costs.map((cost, n) => ({ turnId: turnIdOf(n), role: n % 2 === 0 ? 'user' : 'assistant', cost }));

describe('windowStart', () => {
  it('begins with a user’s turn whose rest fits, and takes more than half of the room where turns are small', () => {
    const costs = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 61, maxLength: 61 });
    fc.assert(
      fc.property(costs, fc.integer({ min: 90, max: 600 }), (all, room) => {
        const turns = turnsOf(all);
        const start = windowStart(turns, room);
        const taken = turns.slice(start).reduce((sum, { cost }) => sum + cost, 0);
        expect(turns[start]?.role).toBe('user');
        expect(taken).toBeLessThanOrEqual(room);
        expect(taken + (start === 0 ? room : 0)).toBeGreaterThan(room / 2 - 40);
      }),
    );
  });

  it('depends on the turns alone: older ones that do not fit change nothing', () => {
    const costs = fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(costs, fc.integer({ min: 31, max: 200 }), fc.nat(20), (all, room, numCut) => {
        const turns = turnsOf([...all, 1]).slice(-all.length);
        const whole = windowStart(turns, room);
        const cut = Math.min(numCut, whole);
        expect(windowStart(turns.slice(cut), room)).toBe(whole - cut);
      }),
    );
  });

  it('moves in steps: of 200 prompts that outgrow the context, most begin with the whole of the one before', () => {
    const contents = Array.from(
      { length: 401 },
      (_, n) => `${n} ${'x'.repeat(20 + ((n * 7) % 30))}`,
    );
    const branch = branchOf(contents);
    let [numMoved, shared, total] = [0, 0, 0];
    let before: readonly number[] = [];
    for (let length = 101; length <= 401; length += 2) {
      const made = planPrompt(materialOf(branch.slice(0, length)), encodeCharacters, 1600);
      const ids = made?.tokenIds ?? [];
      const equal = before.findIndex((id, at) => id !== ids[at]);
      if (before.length > 0) {
        if (equal >= 0) numMoved += 1;
        shared += equal < 0 ? before.length : equal;
        total += before.length;
      }
      before = ids;
    }
    // Dropping the oldest exchange each time would share nothing at all.
    expect(shared / total).toBeGreaterThan(0.75);
    expect(numMoved).toBeLessThan(40);
  });
});
