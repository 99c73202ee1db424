import fc from 'fast-check';
import { branchTo } from '../../../conversation/branch.ts';

describe('branchTo', () => {
  const turn = (
    turnId: string,
    parentTurnId: string | null,
  ): { turnId: string; parentTurnId: string | null } => ({ turnId, parentTurnId });

  it('walks from the leaf to the root and leaves siblings out', () => {
    const turns = [
      turn('1', null),
      turn('2', '1'),
      turn('2b', '1'),
      turn('3', '2'),
      turn('3b', '2b'),
    ];
    expect(branchTo(turns, '3b').map((each) => each.turnId)).toEqual(['1', '2b', '3b']);
  });

  it('stops at a parent that was not read', () => {
    expect(branchTo([turn('5', '4'), turn('6', '5')], '6').map((each) => each.turnId)).toEqual([
      '5',
      '6',
    ]);
  });

  it('is empty for an absent leaf', () => {
    expect(branchTo([turn('1', null)], '2')).toEqual([]);
  });

  it('ends on any links, even circular ones, with each turn at most once', () => {
    const id = fc.nat(9).map(String);
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.record({ turnId: id, parentTurnId: fc.option(id) }), {
          selector: (each) => each.turnId,
        }),
        id,
        (turns, leaf) => {
          const branch = branchTo(turns, leaf);
          expect(new Set(branch).size).toBe(branch.length);
          branch
            .slice(1)
            .forEach((each, index) => expect(each.parentTurnId).toBe(branch[index]?.turnId));
        },
      ),
    );
  });
});
