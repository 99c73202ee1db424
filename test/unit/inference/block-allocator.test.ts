import fc from 'fast-check';
import { BlockAllocator } from '../../../inference/block-allocator.ts';

describe('BlockAllocator', () => {
  it('gives all or nothing', () => {
    const blocks = new BlockAllocator(4);
    expect(blocks.allocate(3)).toHaveLength(3);
    expect(blocks.allocate(2)).toBeNull();
    expect(blocks.numFree).toBe(1);
  });

  it('takes the block that was freed first', () => {
    const blocks = new BlockAllocator(3);
    const [first = 0, second = 0, third = 0] = blocks.allocate(3) ?? [];
    blocks.free([third, first]);
    blocks.free([second]);
    expect(blocks.allocate(3)).toEqual([third, first, second]);
  });

  it('frees a shared block with its last holder', () => {
    const blocks = new BlockAllocator(1);
    const ids = blocks.allocate(1) ?? [];
    blocks.share(ids[0] ?? -1);
    blocks.free(ids);
    expect(blocks.numFree).toBe(0);
    blocks.free(ids);
    expect(blocks.numFree).toBe(1);
  });

  it.each([['freeing', (blocks: BlockAllocator) => blocks.free([0])], ['sharing', (blocks: BlockAllocator) => blocks.share(0)]])('refuses %s a free block', (_name, misuse) => {
    expect(() => misuse(new BlockAllocator(2))).toThrow(expect.objectContaining({ code: 'INVARIANT_VIOLATED' }));
  });

  it('refuses a pool without blocks', () => {
    expect(() => new BlockAllocator(0)).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST' }));
  });

  it('stays sound over any sequence of operations', () => {
    const operation = fc.oneof(
      fc.record({ kind: fc.constant('allocate' as const), count: fc.nat(5) }),
      fc.record({ kind: fc.constantFrom('free' as const, 'share' as const), count: fc.nat(20) }),
    );
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
        const blocks = new BlockAllocator(8);
        const held: number[] = [];
        for (const { kind, count } of operations) {
          const one = held[count % Math.max(1, held.length)];
          if (kind === 'allocate') held.push(...(blocks.allocate(count) ?? []));
          else if (one !== undefined && kind === 'share') {
            blocks.share(one);
            held.push(one);
          } else if (one !== undefined) {
            blocks.free([one]);
            held.splice(held.indexOf(one), 1);
          }
          blocks.checkIntegrity();
          expect(blocks.numUsed).toBe(new Set(held).size);
        }
      }),
    );
  });
});
