import fc from 'fast-check';
import { BlockAllocator } from '../../../inference/block-allocator.ts';

const broken = expect.objectContaining({ code: 'INVARIANT_VIOLATED' });

describe('BlockAllocator', () => {
  it('gives all or nothing', () => {
    const blocks = new BlockAllocator(4);
    expect(blocks.allocate(3)).toHaveLength(3);
    expect(blocks.allocate(2)).toBeNull();
    expect(blocks.numFree).toBe(1);
    expect(blocks.allocate(0)).toEqual([]);
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
    blocks.fork(ids);
    expect(blocks.refCount(ids[0] ?? -1)).toBe(2);
    blocks.free(ids);
    expect(blocks.numFree).toBe(0);
    blocks.free(ids);
    expect(blocks.numFree).toBe(1);
  });

  it.each([
    ['freeing a free block', (blocks: BlockAllocator) => blocks.free([0])],
    ['forking a free block', (blocks: BlockAllocator) => blocks.fork([0])],
    ['freeing what is no block', (blocks: BlockAllocator) => blocks.free([7])],
    ['allocating less than nothing', (blocks: BlockAllocator) => blocks.allocate(-1)],
    ['allocating half a block', (blocks: BlockAllocator) => blocks.allocate(0.5)],
  ])('refuses %s', (_name, misuse) => {
    expect(() => misuse(new BlockAllocator(2))).toThrow(broken);
  });

  it('refuses a pool without blocks', () => {
    expect(() => new BlockAllocator(0)).toThrow(
      expect.objectContaining({ code: 'INVALID_REQUEST' }),
    );
  });

  it('finds a block that nobody holds any more, and one that two hold by one reference', () => {
    const blocks = new BlockAllocator(4);
    const table = blocks.allocate(2) ?? [];
    expect(() => blocks.checkIntegrity([table])).not.toThrow();
    expect(() => blocks.checkIntegrity([table.slice(1)])).toThrow(broken);
    expect(() => blocks.checkIntegrity([table, table])).toThrow(broken);
    expect(() => blocks.checkIntegrity([table, [3]])).toThrow(broken);
  });

  it('stays sound over any sequence of operations', () => {
    const operation = fc.oneof(
      fc.record({ kind: fc.constant('allocate' as const), count: fc.nat(5) }),
      fc.record({ kind: fc.constantFrom('free' as const, 'fork' as const), count: fc.nat(20) }),
    );
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
        const blocks = new BlockAllocator(8);
        const tables: number[][] = [];
        for (const { kind, count } of operations) {
          const at = count % Math.max(1, tables.length);
          const table = tables[at];
          if (kind === 'allocate') {
            const taken = blocks.allocate(count);
            expect(taken === null).toBe(count > 8 - new Set(tables.flat()).size);
            if (taken !== null) tables.push(taken);
          } else if (table !== undefined && kind === 'fork') {
            blocks.fork(table);
            tables.push([...table]);
          } else if (table !== undefined) {
            blocks.free(table);
            tables.splice(at, 1);
          }
          blocks.checkIntegrity(tables);
          expect(blocks.numUsed).toBe(new Set(tables.flat()).size);
          expect(blocks.numFree + blocks.numUsed).toBe(8);
        }
      }),
    );
  });
});
