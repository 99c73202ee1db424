import fc from 'fast-check';
import {
  choosing,
  isCutAmongVersions,
  lastAnswerOf,
  sameStep,
  versionsOf,
  visiblePath,
} from '../../../web/src/branches.ts';
import { turn } from './turns.ts';

const ids = (path: ReturnType<typeof visiblePath>): string[] =>
  path.map((step) => step.turn.turn_id);
const NONE = new Map<string, string>();

// u1 ─ a2 ─ u3 ─ a4
//    └ a5 ─ u6 ─ a7
const TREE = [
  turn('1', null),
  turn('2', '1'),
  turn('3', '2'),
  turn('4', '3'),
  turn('5', '1', { replaces_turn_id: '2' }),
  turn('6', '5'),
  turn('7', '6'),
];

describe('visiblePath', () => {
  it('is empty without turns', () => {
    expect(visiblePath([], NONE)).toEqual([]);
  });

  it('ends in the newest turn when nothing was chosen', () => {
    expect(ids(visiblePath(TREE, NONE))).toEqual(['1', '5', '6', '7']);
  });

  it('shows the first of a turn’s several replies, until one of them is gone on with', () => {
    const replies = ['2', '3', '4'].map((id, index) => turn(id, '1', { index, role: 'assistant' }));
    const tree = [turn('1', null), ...replies];
    expect(ids(visiblePath(tree, NONE))).toEqual(['1', '2']);
    const further = [...tree, turn('5', '4', { role: 'user' })];
    expect(ids(visiblePath(further, NONE))).toEqual(['1', '4', '5']);
    expect(visiblePath(further, NONE)[1]?.siblings).toHaveLength(3);
    const again = ['6', '7'].map((id, index) => turn(id, '1', { index, role: 'assistant' }));
    expect(ids(visiblePath([...tree, ...again], NONE))).toEqual(['1', '6']);
  });

  it('stays on an older branch that was gone on with last', () => {
    expect(ids(visiblePath([...TREE, turn('8', '4')], NONE))).toEqual(['1', '2', '3', '4', '8']);
  });

  it('takes the branch that was chosen', () => {
    expect(ids(visiblePath(TREE, new Map([['1', '2']])))).toEqual(['1', '2', '3', '4']);
  });

  it('lists all siblings at a place, oldest first, whatever order they come in', () => {
    const [, second] = visiblePath([...TREE].reverse(), NONE);
    expect(second?.siblings.map(({ turn_id }) => turn_id)).toEqual(['2', '5']);
  });

  it('takes an edited first message for a sibling of the first', () => {
    const [first] = visiblePath([turn('1', null), turn('2', null)], NONE);
    expect([first?.turn.turn_id, first?.siblings.length]).toEqual(['2', 2]);
  });

  it('begins where its page begins when older turns are not read yet', () => {
    expect(ids(visiblePath(TREE.slice(2), NONE))).toEqual(['5', '6', '7']);
  });

  it('does not loop on links that form a circle', () => {
    expect(ids(visiblePath([turn('1', '2'), turn('2', '1')], NONE)).length).toBeLessThanOrEqual(2);
  });
});

describe('choosing', () => {
  it('leads the path through the turn, from any branch', () => {
    const path = visiblePath(TREE, choosing(TREE, new Map([['1', '5']]), '3'));
    expect(ids(path)).toEqual(['1', '2', '3', '4']);
  });

  it('leads the path through any turn of any tree', () => {
    const trees = fc
      .array(fc.nat(), { minLength: 1, maxLength: 40 })
      .map((parents) =>
        parents.map((seed, index) => turn(name(index), index === 0 ? null : name(seed % index))),
      );
    fc.assert(
      fc.property(trees, fc.nat(), (turns, seed) => {
        const aim = name(seed % turns.length);
        expect(ids(visiblePath(turns, choosing(turns, NONE, aim)))).toContain(aim);
      }),
    );
  });
});

describe('isCutAmongVersions', () => {
  const cut = (turns: Parameters<typeof visiblePath>[0]): boolean =>
    isCutAmongVersions(turns, visiblePath(turns, NONE));

  it('is true when the first shown turn replaces one that is not read', () => {
    expect(cut(TREE.slice(4))).toBe(true);
  });

  it('is true when the first shown turn has versions and their parent is not read: there may be older ones', () => {
    expect(cut([turn('5', '1', { replaces_turn_id: '2' }), turn('2', '1')])).toBe(true);
  });

  it('is true when the first shown turn is one of several replies', () => {
    const [, ...rest] = ['2', '3', '4'].map((id, index) =>
      turn(id, '1', { index, role: 'assistant' }),
    );
    expect(cut(rest)).toBe(true);
  });

  it('is false when the first shown turn stands alone, or its parent is read: its versions came later', () => {
    expect(cut(TREE.slice(2, 4))).toBe(false);
    expect(cut(TREE)).toBe(false);
    expect(cut([])).toBe(false);
  });

  it('is false for every part of a tree in which the first shown turn’s versions are all read', () => {
    const trees = fc.array(fc.nat(), { minLength: 1, maxLength: 30 }).map((parents) =>
      parents.map((seed, index) => {
        const parent = index === 0 ? null : name(seed % index);
        const older = parents
          .map((each, at) => [name(at), at === 0 ? null : name(each % at)] as const)
          .slice(0, index)
          .findLast(([, of]) => of === parent);
        return turn(name(index), parent, { replaces_turn_id: older?.[0] ?? null });
      }),
    );
    fc.assert(
      fc.property(trees, fc.nat(), (turns, seed) => {
        const page = turns.slice(seed % turns.length);
        const path = visiblePath(page, NONE);
        const first = path[0];
        if (first === undefined || isCutAmongVersions(page, path)) return;
        const whole = turns.filter(
          ({ parent_turn_id }) => parent_turn_id === first.turn.parent_turn_id,
        );
        expect(first.siblings.map(({ turn_id }) => turn_id)).toEqual(
          whole.map(({ turn_id }) => turn_id),
        );
      }),
    );
  });
});

describe('versionsOf', () => {
  const siblings = ['2', '5', '8'].map((id) => turn(id, '1'));
  const at = (index: number, isCut = false): ReturnType<typeof versionsOf> =>
    versionsOf({ turn: siblings[index] ?? turn('9', '1'), siblings, isCut });

  it('says which of how many, and the neighbours', () => {
    expect(at(0)).toEqual({ words: '1 of 3', previous: null, next: '5' });
    expect(at(1)).toEqual({ words: '2 of 3', previous: '2', next: '8' });
    expect(at(2)).toEqual({ words: '3 of 3', previous: '5', next: null });
  });

  it('says no number that is not known yet', () => {
    expect(at(1, true)).toEqual({ words: '…', previous: '2', next: '8' });
  });

  it('is null for a turn without siblings', () => {
    expect(
      versionsOf({ turn: turn('2', '1'), siblings: [turn('2', '1')], isCut: false }),
    ).toBeNull();
  });

  it('counts edits, answers written again and samples alike', () => {
    const samples = [4, 5, 6].map((id, index) =>
      turn(String(id), '3', { index, role: 'assistant' }),
    );
    const tree = [
      turn('1', null),
      turn('2', '1'),
      turn('3', null, { replaces_turn_id: '1' }),
      ...samples,
      turn('7', '3', { role: 'assistant', replaces_turn_id: '4' }),
    ];
    expect(visiblePath(tree, NONE).map((step) => versionsOf(step)?.words)).toEqual([
      '2 of 2',
      '4 of 4',
    ]);
  });
});

describe('sameStep', () => {
  it('tells steps apart whose versions have other ids: a reply got its name from the service', () => {
    const [shown, pending, named] = [turn('2', '1'), turn('~answer', '1'), turn('3', '1')];
    const before = { turn: shown, siblings: [shown, pending], isCut: false };
    expect(sameStep(before, { ...before, siblings: [shown, pending] })).toBe(true);
    expect(sameStep(before, { ...before, siblings: [shown, named] })).toBe(false);
    expect(sameStep(before, { ...before, isCut: true })).toBe(false);
    expect(sameStep(before, { ...before, turn: { ...shown } })).toBe(false);
  });
});

describe('lastAnswerOf', () => {
  it('skips a message that has no answer', () => {
    expect(lastAnswerOf(visiblePath([...TREE, turn('8', '7')], NONE))).toBe('7');
  });

  it('is null at the start of a conversation', () => {
    expect(lastAnswerOf(visiblePath([turn('1', null)], NONE))).toBeNull();
  });
});

function name(index: number): string {
  return String(index).padStart(3, '0');
}
