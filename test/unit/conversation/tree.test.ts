import fc from 'fast-check';
import { buildTree, lastReplyBelow } from '../../../conversation/tree.ts';
import type { TreeTurn } from '../../../conversation/tree.ts';
import { BranchModel, shuffles, steps, violations } from '../../helpers/branch-model.ts';
import type { Planned } from '../../helpers/branch-model.ts';

/** Sequences of the long property; 10,000 is the bar. */
const NUM_SEQUENCES = Number(process.env['COLLOQUY_SEQUENCES'] ?? 300);

const turn = (
  turnId: string,
  parentTurnId: string | null,
  role: TreeTurn['role'],
  sampleIndex: number | null = null,
): TreeTurn => ({ turnId, parentTurnId, role, sampleIndex });

const question = (id: string, parent: string | null): TreeTurn => turn(id, parent, 'user');
const reply = (id: string, parent: string, sample: number | null = null): TreeTurn =>
  turn(id, parent, 'assistant', sample);

describe('buildTree', () => {
  it('puts edits and regenerations beside what they replace, oldest first', () => {
    const turns = [
      question('1', null),
      reply('2', '1'),
      reply('5', '1'),
      question('3', null),
      reply('4', '3'),
    ];
    const tree = buildTree(turns);
    expect(tree.siblingsOf('5').map(({ turnId }) => turnId)).toEqual(['2', '5']);
    expect(tree.siblingsOf('1').map(({ turnId }) => turnId)).toEqual(['1', '3']);
    expect(tree.childrenOf('3').map(({ turnId }) => turnId)).toEqual(['4']);
    expect(tree.siblingsOf('9')).toEqual([]);
  });

  it('keeps alternatives together whose common parent is on a page that was not read', () => {
    const tree = buildTree([reply('5', '1'), reply('8', '1'), question('9', '7')]);
    expect(tree.siblingsOf('8').map(({ turnId }) => turnId)).toEqual(['5', '8']);
    expect(tree.siblingsOf('9').map(({ turnId }) => turnId)).toEqual(['9']);
  });

  it('reaches every turn once, in any order, whatever the links are, even circles', () => {
    const id = fc.nat(12).map(String);
    const turns = fc.uniqueArray(
      fc.record({
        turnId: id,
        parentTurnId: fc.option(id),
        role: fc.constantFrom<TreeTurn['role']>('user', 'assistant'),
      }),
      { selector: ({ turnId }) => turnId },
    );
    const all = (given: readonly TreeTurn[]): string[] => {
      const tree = buildTree(given);
      const walk = (each: TreeTurn): string[] => [
        each.turnId,
        ...tree.childrenOf(each.turnId).flatMap(walk),
      ];
      return tree.roots.flatMap(walk);
    };
    fc.assert(
      fc.property(turns, fc.nat(), (given, seed) => {
        const reached = all(given);
        expect([...reached].sort()).toEqual(given.map(({ turnId }) => turnId).sort());
        for (const other of shuffles(given, seed)) expect(all(other)).toEqual(reached);
      }),
    );
  });
});

describe('lastReplyBelow', () => {
  const turns = [
    question('1', null),
    reply('2', '1'),
    question('3', '2'),
    reply('4', '3'),
    reply('5', '1', 0),
    reply('6', '1', 1),
    question('7', '4'),
  ];
  const endOf = (id: string): string | undefined => lastReplyBelow(turns, id)?.turnId;

  it('is the end of the branch, where only a message waits for its reply', () => {
    expect(endOf('2')).toBe('4');
    expect(endOf('4')).toBe('4');
  });

  it('is the first of several replies, unless another one is named', () => {
    expect(endOf('1')).toBe('5');
    expect(endOf('6')).toBe('6');
  });

  it('is nothing for a stranger, and for a message without a reply', () => {
    expect(endOf('9')).toBeUndefined();
    expect(endOf('7')).toBeUndefined();
  });
});

describe('a conversation that two tabs change', () => {
  it(`stays one tree with its pointer at the end of a branch, over ${NUM_SEQUENCES} sequences`, () => {
    let numTurns = 0;
    fc.assert(
      fc.property(steps, fc.nat(), (sequence, seed) => {
        const model = new BranchModel();
        const plans: (Planned | null)[] = [null, null];
        for (const step of sequence) {
          const request = 'pick' in step ? model.requestAt(step.pick) : undefined;
          if (step.do === 'plan') plans[step.tab] = model.plan(step);
          else if (step.do === 'accept') {
            const planned = plans[step.tab];
            if (planned !== null && planned !== undefined) model.accept(planned);
            plans[step.tab] = null;
          } else if (step.do === 'delete') model.delete();
          else if (step.do === 'move') {
            const turnId = model.turnAt(step.pick);
            if (turnId !== undefined) model.move(turnId);
          } else if (request !== undefined) model[step.do](request);
          const turns = [...model.turns.values()];
          expect(violations(turns, model.activeTurnId, [])).toEqual([]);
        }
        const turns = [...model.turns.values()];
        numTurns = Math.max(numTurns, turns.length);
        expect(violations(turns, model.activeTurnId, shuffles(turns, seed))).toEqual([]);
      }),
      { numRuns: NUM_SEQUENCES },
    );
    expect(numTurns).toBeGreaterThan(10);
  }, 600_000);
});
