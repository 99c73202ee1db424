import { Sequence, compareService } from '../../../inference/sequence.ts';
import type { SequenceState } from '../../../inference/sequence.ts';
import { sequenceRequest } from '../../helpers/engine-runs.ts';

const silent = { onTokens: () => undefined, onFinish: () => undefined };
const STATES: readonly SequenceState[] = ['waiting', 'running', 'preempted', 'finished'];

/** Ways to each state. */
const PATHS: Readonly<Record<SequenceState, readonly SequenceState[]>> = {
  waiting: [],
  running: ['running'],
  preempted: ['running', 'preempted'],
  finished: ['finished'],
};

function sequence(priority = 3, arrival = 0): Sequence {
  return new Sequence(
    sequenceRequest([1, 2, 3], { outputTokenIds: [4], priority }),
    silent,
    arrival,
  );
}

describe('Sequence', () => {
  it('allows exactly the documented transitions', () => {
    const allowed = STATES.flatMap((from) =>
      STATES.filter((to) => {
        const one = sequence();
        PATHS[from].forEach((state) => one.become(state));
        try {
          one.become(to);
          return one.state === to;
        } catch {
          return false;
        }
      }).map((to) => `${from} → ${to}`),
    );
    expect(allowed).toEqual([
      'waiting → running',
      'waiting → finished',
      'running → preempted',
      'running → finished',
      'preempted → running',
      'preempted → finished',
    ]);
  });

  it('counts an earlier attempt’s tokens as output', () => {
    expect(sequence()).toMatchObject({
      numOutputTokens: 1,
      numPendingTokens: 4,
      tokenIds: [1, 2, 3, 4],
    });
  });

  it('is not computed any more once its blocks are taken, and keeps its tokens', () => {
    const one = sequence();
    one.appendBlocks([5, 6]);
    one.appendBlocks([2]);
    one.numComputedTokens = 3;
    expect(one.takeBlocks()).toEqual([5, 6, 2]);
    expect(one).toMatchObject({ blockTable: [], numComputedTokens: 0, tokenIds: [1, 2, 3, 4] });
  });

  it('forgets all but its prompt when its search begins anew, the names of what it said included', () => {
    const beam = new Sequence(sequenceRequest([1, 2, 3], { numBeams: 2 }), silent, 0);
    beam.tokenIds.push(7, 8);
    beam.blockKeys.push('name of 1 2 3 7');
    beam.endForking();
    beam.restart();
    expect(beam).toMatchObject({ tokenIds: [1, 2, 3], blockKeys: [], numSeats: 2 });
  });

  it('is served by priority, then by arrival', () => {
    const order = [sequence(2, 9), sequence(1, 7), sequence(2, 3), sequence(1, 8)].sort(
      compareService,
    );
    expect(order.map(({ request, arrival }) => [request.priority, arrival])).toEqual([
      [1, 7],
      [1, 8],
      [2, 3],
      [2, 9],
    ]);
  });
});
