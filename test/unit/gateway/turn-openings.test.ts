import { newTurnId } from '../../../contracts/ids.ts';
import { TurnOpenings } from '../../../gateway/turn-openings.ts';

describe('TurnOpenings', () => {
  it('lets the steps of a turn wait for its log, and for no other turn’s', async () => {
    const openings = new TurnOpenings();
    const turnId = newTurnId();
    let open = (): void => undefined;
    void openings.begin(turnId, new Promise<void>((resolve) => (open = resolve)));
    let isOpen = false;
    const waiting = openings.opened(turnId).then((isOwn) => ({ isOwn, isOpen }));
    expect(await openings.opened(newTurnId())).toBe(false);
    isOpen = true;
    open();
    expect(await waiting).toEqual({ isOwn: true, isOpen: true });
  });

  it('says that it knew a turn whose log was open before its steps came, or could not be opened', async () => {
    const openings = new TurnOpenings();
    const [one, other] = [newTurnId(), newTurnId()];
    await openings.begin(one, Promise.resolve());
    await openings.begin(other, Promise.reject(new Error('no log'))).catch(() => undefined);
    expect(await openings.opened(one)).toBe(true);
    expect(await openings.opened(other)).toBe(true);
  });
});
