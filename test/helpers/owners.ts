// Users for tests of the store, by the slot they are in.
import { randomUUID } from 'node:crypto';
import type { OrgId, UserId } from '../../contracts/ids.ts';
import { slotOf } from '../../postgres/shard-slots.ts';
import { rows } from '../../postgres/pool.ts';
import type { Db } from '../../postgres/pool.ts';

export interface Owner {
  readonly userId: UserId;
  readonly orgId: OrgId;
}

/** An id in the slot. */
export function userIdIn(slot: number): UserId {
  for (;;) {
    const id = randomUUID() as UserId;
    if (slotOf(id) === slot) return id;
  }
}

/** A paid user of an organisation of their own, by the directory. */
export async function newOwner(directory: Db, userId: UserId): Promise<Owner> {
  const [org] = await rows<{ org_id: OrgId }>(
    directory,
    `with org as (insert into organisations (name) values ('test') returning org_id), made as (
       insert into users (user_id, org_id, name, tier) select $1, org_id, 'test', 'paid' from org)
     select org_id from org`,
    [userId],
  );
  if (org === undefined) throw new Error('no organisation was made');
  return { userId, orgId: org.org_id };
}
