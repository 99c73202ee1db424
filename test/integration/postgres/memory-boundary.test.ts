// The sweep's claims on a real store.
import { claimIdleConversations } from '../../../postgres/memory-boundary.ts';
import { rows } from '../../../postgres/pool.ts';
import { createMemoryWorld } from '../../helpers/memory-world.ts';
import type { MemoryWorld } from '../../helpers/memory-world.ts';

let world: MemoryWorld;
beforeAll(async () => {
  world = await createMemoryWorld();
}, 60_000);
afterAll(() => world.close());

const claim = (claimMs = 60_000, limit = 100) =>
  claimIdleConversations(world.db, { idleMs: 60_000, claimMs, limit });

describe('claimIdleConversations', () => {
  it('gives each conversation to one of many sweeps at once, and again when the claim is over', async () => {
    const user = await world.newUser();
    const ids = await Promise.all(Array.from({ length: 40 }, () => world.newConversation(user)));
    for (const id of ids) await world.say(id, 'hello');
    const claimed = (await Promise.all(Array.from({ length: 8 }, () => claim(60_000, 10)))).flat();
    const names = claimed.map(({ conversationId }) => conversationId);
    expect(new Set(names).size).toBe(names.length);
    const rest = (await claim()).map(({ conversationId }) => conversationId);
    expect(new Set([...names, ...rest])).toEqual(new Set(ids));
    expect(await claim()).toEqual([]);
    await rows(world.db, 'update conversations set memory_claimed_until = now()');
    expect(await claim()).toHaveLength(40);
    for (const id of ids) await world.extract(id);
    await rows(world.db, 'update conversations set memory_claimed_until = null');
    expect(await claim()).toEqual([]);
  });

  it('leaves alone what is not idle, what is read, and what was turned back to an older branch', async () => {
    const user = await world.newUser();
    const [fresh, back] = [await world.newConversation(user), await world.newConversation(user)];
    await world.say(fresh, 'hello');
    await rows(
      world.db,
      'update conversations set last_turn_at = now() where conversation_id = $1',
      [fresh],
    );
    const { replyId } = await world.say(back, 'hello');
    await world.say(back, 'hello again');
    await world.extract(back);
    await rows(
      world.db,
      'update conversations set active_turn_id = $2 where conversation_id = $1',
      [back, replyId],
    );
    expect(await claim()).toEqual([]);
  });
});
