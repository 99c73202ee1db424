// The name under which the books keep what was a user's. Random, so that nobody can tell whose it was; but with the same first
// byte of its hash, by which owners are spread over databases (see slot_of), so that its rows stay where they are.
import { createHash, randomUUID } from 'node:crypto';
import type { UserId } from '../contracts/ids.ts';

export function pseudonymFor(userId: UserId): UserId {
  const slot = slotOf(userId);
  for (;;) {
    const drawn = randomUUID();
    if (slotOf(drawn) === slot) return drawn as UserId;
  }
}

function slotOf(id: string): number | undefined {
  return createHash('sha256')
    .update(Buffer.from(id.replaceAll('-', ''), 'hex'))
    .digest()[0];
}
