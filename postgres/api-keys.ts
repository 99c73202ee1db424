// Bearer tokens: only their SHA-256 is stored and looked up.
import type { OrgId, UserId } from '../contracts/ids.ts';
import type { Role, Tier } from '../contracts/turn-facts.ts';
import type { Principal } from '../contracts/turn-request.ts';
import { row, rows } from './pool.ts';
import type { Db } from './pool.ts';

const VALID = `k.revoked_at is null and (k.expires_at is null or k.expires_at > now()) and u.disabled_at is null`;

/** The caller behind a token's hash; null when it is unknown, expired or revoked, or its user is disabled. */
export async function findPrincipal(db: Db, keyHash: Buffer): Promise<Principal | null> {
  const found = await row<{ user_id: UserId; org_id: OrgId; tier: Tier; role: Role }>(
    db,
    `select u.user_id, u.org_id, u.tier, u.role from api_keys k join users u using (user_id)
     where k.key_hash = $1 and ${VALID}`,
    [keyHash],
  );
  return found === null
    ? null
    : { userId: found.user_id, orgId: found.org_id, tier: found.tier, role: found.role };
}

/** Of these hashes, those of tokens that still let somebody in. */
export async function validKeys(db: Db, keyHashes: readonly Buffer[]): Promise<Buffer[]> {
  const found = await rows<{ key_hash: Buffer }>(
    db,
    `select k.key_hash from api_keys k join users u using (user_id) where k.key_hash = any($1::bytea[]) and ${VALID}`,
    [keyHashes],
  );
  return found.map(({ key_hash: keyHash }) => keyHash);
}
