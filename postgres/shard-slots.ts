// Which slot an owner is in. Pure; the database has the same as slot_of().
import { createHash } from 'node:crypto';
import type { UserId } from '../contracts/ids.ts';

/** Enough that a shard's share is even to a few per cent, few enough that a map is one small row set. */
export const NUM_SLOTS = 256;

/** 0 … 255: the first byte of the SHA-256 of the id's bytes. Never changes: rows are where it says. */
export function slotOf(userId: UserId): number {
  const bytes = Buffer.from(userId.replaceAll('-', ''), 'hex');
  return createHash('sha256').update(bytes).digest().readUInt8(0);
}

/**
 * The fewest changes of a map that make it even: no shard has more than one slot more than another.
 * @param shards shard of each slot
 */
export function evenMoves(
  shards: readonly number[],
  numShards: number,
): { slot: number; target: number }[] {
  const slotsOf = Array.from({ length: numShards }, (_, shard) =>
    shards.flatMap((each, slot) => (each === shard ? [slot] : [])),
  );
  // The larger shares stay with whoever has most already.
  const order = slotsOf.map((_, shard) => shard).sort((a, b) => sizeOf(b) - sizeOf(a));
  const floor = Math.floor(shards.length / numShards);
  const rest = shards.length % numShards;
  const share = new Map(order.map((shard, rank) => [shard, floor + (rank < rest ? 1 : 0)]));
  const given = slotsOf.flatMap((slots, shard) => slots.slice(share.get(shard)));
  return order.flatMap((shard) =>
    given
      .splice(0, Math.max(0, (share.get(shard) ?? 0) - sizeOf(shard)))
      .map((slot) => ({ slot, target: shard })),
  );

  function sizeOf(shard: number): number {
    return slotsOf[shard]?.length ?? 0;
  }
}
