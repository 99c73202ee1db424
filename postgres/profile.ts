// What the directory says of a user, for the user.
import type { OrgId, UserId } from '../contracts/ids.ts';
import type { Role, Tier } from '../contracts/turn-facts.ts';
import { row } from './pool.ts';
import type { Db } from './pool.ts';

export interface Profile {
  readonly userId: UserId;
  readonly orgId: OrgId;
  readonly name: string;
  readonly tier: Tier;
  readonly role: Role;
  readonly createdAt: Date;
}

export async function profileOf(directory: Db, userId: UserId): Promise<Profile | null> {
  const found = await row<{
    org_id: OrgId;
    name: string;
    tier: Tier;
    role: Role;
    created_at: Date;
  }>(directory, 'select org_id, name, tier, role, created_at from users where user_id = $1', [
    userId,
  ]);
  if (found === null) return null;
  const { org_id: orgId, name, tier, role, created_at: createdAt } = found;
  return { userId, orgId, name, tier, role, createdAt };
}
