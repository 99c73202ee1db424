// A user to own what a bench or a test stores.
import type { OrgId, UserId } from '../../contracts/ids.ts';
import { row } from '../../postgres/pool.ts';
import type { Db } from '../../postgres/pool.ts';

export interface Owner {
  readonly userId: UserId;
  readonly orgId: OrgId;
}

export async function newOwner(db: Db): Promise<Owner> {
  const made = await row<{ user_id: UserId; org_id: OrgId }>(
    db,
    `with org as (insert into organisations (name) values ('test') returning org_id)
     insert into users (org_id, name, tier) select org_id, 'test', 'paid' from org returning user_id, org_id`,
  );
  if (made === null) throw new Error('no user was made');
  return { userId: made.user_id, orgId: made.org_id };
}
