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

  it('takes blocks without content first, then content in the order in which it was freed, and says which it loses', () => {
    const evicted: number[] = [];
    const blocks = new BlockAllocator(4, (id) => evicted.push(id));
    const [first = 0, second = 0, third = 0, last = 0] = blocks.allocate(4) ?? [];
    for (const id of [first, second, third]) blocks.keepContent(id);
    blocks.free([second, first, last, third]);
    expect([blocks.numFree, blocks.numCached]).toEqual([4, 3]);
    expect(blocks.allocate(3)).toEqual([last, second, first]);
    expect(evicted).toEqual([second, first]);
    expect([blocks.numFree, blocks.numCached]).toEqual([1, 1]);
  });

  it('lets a free block with content be held again as it is', () => {
    const blocks = new BlockAllocator(2);
    const [id = 0] = blocks.allocate(1) ?? [];
    blocks.keepContent(id);
    blocks.free([id]);
    blocks.share([id]);
    blocks.share([id]);
    expect([blocks.refCount(id), blocks.numFree, blocks.numCached]).toEqual([2, 1, 0]);
    expect(blocks.allocate(2)).toBeNull();
  });

  it.each([
    ['sharing a block without content', (blocks: BlockAllocator) => blocks.share([0])],
    ['keeping the content of a free block', (blocks: BlockAllocator) => blocks.keepContent(0)],
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
      fc.record({
        kind: fc.constantFrom('free' as const, 'fork' as const, 'keep' as const, 'share' as const),
        count: fc.nat(20),
      }),
    );
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
        const known = new Set<number>();
        const blocks = new BlockAllocator(8, (id) => expect(known.delete(id)).toBe(true));
        const tables: number[][] = [];
        for (const { kind, count } of operations) {
          const at = count % Math.max(1, tables.length);
          const table = tables[at];
          if (kind === 'allocate') {
            const taken = blocks.allocate(count);
            expect(taken === null).toBe(count > 8 - new Set(tables.flat()).size);
            if (taken !== null) tables.push(taken);
          } else if (kind === 'share') {
            const ids = [...known].slice(0, count);
            blocks.share(ids);
            tables.push(ids);
          } else if (table !== undefined && kind === 'keep') {
            for (const id of table.slice(0, 1)) {
              blocks.keepContent(id);
              known.add(id);
            }
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
          expect(blocks.numCached).toBe(
            [...known].filter((id) => blocks.refCount(id) === 0).length,
          );
        }
      }),
    );
  });
});
