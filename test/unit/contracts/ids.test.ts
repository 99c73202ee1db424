import { firstTurnIdOf, newConversationId, newTurnId } from '../../../contracts/ids.ts';
import type { ConversationId } from '../../../contracts/ids.ts';

describe('firstTurnIdOf', () => {
  const DAY = 24 * 60 * 60_000;
  const timeOf = (id: string): number => Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16);

  it('is a day below the id, so that a gateway whose clock is behind mints nothing under it', () => {
    const id = newConversationId();
    expect(timeOf(firstTurnIdOf(id))).toBe(timeOf(id) - DAY);
    expect(firstTurnIdOf(id) < newTurnId()).toBe(true);
    expect(firstTurnIdOf(newTurnId())).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7000-8000-000000000000$/);
  });

  it('is below every turn for an id that has no time in it', () => {
    const random = 'f47ac10b-58cc-4372-a567-0e02b2c3d479' as ConversationId;
    expect(timeOf(firstTurnIdOf(random))).toBe(0);
  });
});
