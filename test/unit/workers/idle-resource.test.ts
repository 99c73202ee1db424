import { IdleResource } from '../../../workers/idle-resource.ts';

const IDLE_MS = 1000;

describe('IdleResource', () => {
  let numOpened = 0;
  let numClosed = 0;
  const make = (): IdleResource<{ close: () => void }> =>
    new IdleResource(() => {
      numOpened += 1;
      return { close: () => void (numClosed += 1) };
    }, IDLE_MS);

  beforeEach(() => {
    jest.useFakeTimers();
    [numOpened, numClosed] = [0, 0];
  });
  afterEach(() => jest.useRealTimers());

  it('opens at the first use, and once for uses that follow or overlap', async () => {
    const resource = make();
    expect(numOpened).toBe(0);
    const [one, other] = await Promise.all([
      resource.use((held) => held),
      resource.use((held) => held),
    ]);
    expect(await resource.use((held) => held)).toBe(one);
    expect(other).toBe(one);
    expect(numOpened).toBe(1);
  });

  it('closes when nobody used it for the idle time, and opens anew afterwards', async () => {
    const resource = make();
    await resource.use(() => undefined);
    jest.advanceTimersByTime(IDLE_MS - 1);
    expect(numClosed).toBe(0);
    await resource.use(() => undefined);
    jest.advanceTimersByTime(IDLE_MS - 1);
    expect(numClosed).toBe(0);
    jest.advanceTimersByTime(1);
    expect([numClosed, resource.isOpen]).toEqual([1, false]);
    await resource.use(() => undefined);
    expect(numOpened).toBe(2);
  });

  it('stays open while somebody works with it, however long', async () => {
    const resource = make();
    let finish: () => void = () => undefined;
    const long = resource.use(() => new Promise<void>((resolve) => (finish = resolve)));
    await resource.use(() => undefined);
    jest.advanceTimersByTime(10 * IDLE_MS);
    expect(numClosed).toBe(0);
    finish();
    await long;
    jest.advanceTimersByTime(IDLE_MS);
    expect(numClosed).toBe(1);
  });

  it('is free for a later use when its work fails', async () => {
    const resource = make();
    await expect(resource.use(() => Promise.reject(new Error('work')))).rejects.toThrow('work');
    jest.advanceTimersByTime(IDLE_MS);
    expect(numClosed).toBe(1);
  });
});
