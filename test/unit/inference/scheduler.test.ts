import { BlockAllocator } from '../../../inference/block-allocator.ts';
import { PreemptionCost } from '../../../inference/preemption-cost.ts';
import { PrefixCache } from '../../../inference/prefix-cache.ts';
import { Scheduler } from '../../../inference/scheduler.ts';
import type { Schedule, SchedulerOptions } from '../../../inference/scheduler.ts';
import { Sequence } from '../../../inference/sequence.ts';
import { SwapSpace } from '../../../inference/swap-space.ts';
import { sequenceRequest } from '../../helpers/engine-runs.ts';

const silent = { onTokens: () => undefined, onFinish: () => undefined };

/** A scheduler of blocks of 4, and its steps as `name:tokens`, each followed by what the engine would do. */
function setUp(numBlocks: number, options: Partial<SchedulerOptions> = {}) {
  const blocks = new BlockAllocator(numBlocks);
  const scheduler = new Scheduler(
    { maxNumBatchedTokens: 16, maxNumSeqs: 8, blockSize: 4, ...options },
    {
      blocks,
      cache: new PrefixCache(blocks, 4),
      swap: new SwapSpace(numBlocks, 0),
      cost: new PreemptionCost(1),
    },
  );
  let arrivals = 0;
  const add = (seqId: string, numTokens: number, priority = 3): Sequence => {
    const prompt = Array.from({ length: numTokens }, () => 1);
    const sequence = new Sequence(
      { ...sequenceRequest(prompt, { priority }), seqId },
      silent,
      arrivals++,
    );
    scheduler.add(sequence);
    return sequence;
  };
  const step = (): string[] => {
    const schedule = scheduler.schedule();
    advance(schedule);
    blocks.checkIntegrity(
      [...scheduler.running, ...scheduler.waiting].map(({ blockTable }) => blockTable),
    );
    return [
      ...schedule.scheduled.map(({ sequence, numTokens }) => `${sequence.seqId}:${numTokens}`),
      ...schedule.preempted.map(({ seqId }) => `${seqId}:preempted`),
    ];
  };
  return { blocks, scheduler, add, step };
}

function advance({ scheduled }: Schedule): void {
  for (const { sequence, numTokens } of scheduled) {
    sequence.numComputedTokens += numTokens;
    if (sequence.numPendingTokens === 0) sequence.tokenIds.push(1);
  }
}

describe('Scheduler', () => {
  it('schedules nothing without sequences', () => {
    expect(setUp(4).step()).toEqual([]);
  });

  it('fills the budget in order of arrival and cuts the last prompt to what is left', () => {
    const { add, step } = setUp(40);
    add('a', 10);
    add('b', 10);
    expect(step()).toEqual(['a:10', 'b:6']);
    expect(step()).toEqual(['a:1', 'b:4']);
    expect(step()).toEqual(['a:1', 'b:1']);
  });

  it('gives decoding sequences their rows before any prompt, even an older or more urgent one', () => {
    const { add, step } = setUp(100);
    add('long', 40);
    add('short', 1, 2);
    expect(step()).toEqual(['short:1', 'long:15']);
    add('urgent', 40, 1);
    expect(step()).toEqual(['short:1', 'urgent:15']);
    expect(step()).toEqual(['short:1', 'urgent:15']);
    expect(step()).toEqual(['short:1', 'urgent:10', 'long:5']);
  });

  it('admits an urgent prompt before a less urgent one goes on', () => {
    const { add, step } = setUp(100);
    add('long', 40);
    expect(step()).toEqual(['long:16']);
    add('urgent', 10, 1);
    expect(step()).toEqual(['urgent:10', 'long:6']);
  });

  it('lets a prompt of many steps give half of each to those behind it, and the whole when nobody is', () => {
    const { add, step } = setUp(100);
    add('long', 100);
    expect(step()).toEqual(['long:16']);
    add('short', 5);
    add('other', 20);
    expect(step()).toEqual(['long:8', 'short:5', 'other:3']);
    expect(step()).toEqual(['short:1', 'long:8', 'other:7']);
    expect(step()).toEqual(['short:1', 'long:8', 'other:7']);
    // Four steps are left of it: it is like any other now.
    expect(step()).toEqual(['short:1', 'long:15']);
  });

  it('admits nobody beyond maxNumSeqs', () => {
    const { add, step, scheduler } = setUp(40, { maxNumSeqs: 2 });
    for (const name of ['a', 'b', 'c']) add(name, 1);
    expect(step()).toEqual(['a:1', 'b:1']);
    scheduler.running.slice(0, 1).forEach((each) => scheduler.remove(each));
    expect(step()).toEqual(['b:1', 'c:1']);
  });

  it('lets no small prompt overtake a large one that does not fit yet', () => {
    const { add, step } = setUp(6);
    add('a', 8);
    add('large', 20);
    add('small', 1);
    expect(step()).toEqual(['a:8']);
  });

  it('admits only what leaves a block for each sequence that runs', () => {
    const { add, step } = setUp(4);
    add('a', 4);
    add('b', 12);
    expect(step()).toEqual(['a:4']);
    expect(setUpFits()).toEqual(['a:4', 'b:8']);
    function setUpFits(): string[] {
      const other = setUp(4);
      other.add('a', 4);
      other.add('b', 8);
      return other.step();
    }
  });

  it('takes all blocks a prompt needs when it admits it, so prompts never preempt each other', () => {
    const { add, step, blocks } = setUp(20);
    add('a', 48);
    expect(step()).toEqual(['a:16']);
    expect(blocks.numUsed).toBe(12);
    add('b', 36);
    expect(step()).toEqual(['a:16']);
  });

  it('preempts the last in order of service, which starts over with its tokens when there is room', () => {
    const { add, step, scheduler } = setUp(4);
    const a = add('a', 4);
    const b = add('b', 4);
    expect(step()).toEqual(['a:4', 'b:4']);
    for (let token = 0; token < 4; token += 1) expect(step()).toEqual(['a:1', 'b:1']);
    expect(step()).toEqual(['a:1', 'b:preempted']);
    expect(b).toMatchObject({ state: 'preempted', numComputedTokens: 0, blockTable: [] });
    expect(b.tokenIds).toHaveLength(9);
    expect(step()).toEqual(['a:1']);
    scheduler.remove(a);
    expect(step()).toEqual(['b:9']);
    expect(b.state).toBe('running');
  });

  it('preempts the less urgent, though it came first', () => {
    const { add, step } = setUp(4);
    add('a', 4, 5);
    add('b', 4, 1);
    expect(step()).toEqual(['b:4', 'a:4']);
    for (let token = 0; token < 4; token += 1) expect(step()).toEqual(['b:1', 'a:1']);
    expect(step()).toEqual(['b:1', 'a:preempted']);
  });

  it('gives blocks taken from the last to nobody behind it, and not back to it', () => {
    const { add, step } = setUp(4, { maxNumSeqs: 2 });
    add('a', 4);
    const b = add('b', 4);
    add('c', 1);
    expect(step()).toEqual(['a:4', 'b:4']);
    for (let token = 0; token < 4; token += 1) expect(step()).toEqual(['a:1', 'b:1']);
    expect(step()).toEqual(['a:1', 'b:preempted']);
    expect(b.blockTable).toEqual([]);
  });

  it('frees the end of a block table first, so that beginnings are evicted last', () => {
    const { add, step, scheduler, blocks } = setUp(3);
    const a = add('a', 12);
    step();
    const table = [...a.blockTable];
    for (const id of table) blocks.keepContent(id);
    scheduler.remove(a);
    expect(blocks.allocate(3)).toEqual(table.reverse());
  });

  it('refuses a budget that does not give each sequence its row', () => {
    expect(() => setUp(4, { maxNumBatchedTokens: 7 })).toThrow(
      expect.objectContaining({ code: 'INVALID_REQUEST' }),
    );
    expect(() => setUp(4, { maxNumSeqs: 0 })).toThrow(
      expect.objectContaining({ code: 'INVALID_REQUEST' }),
    );
  });
});
