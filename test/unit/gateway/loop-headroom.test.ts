import { LoopHeadroom } from '../../../gateway/loop-headroom.ts';
import type { LoopClock } from '../../../gateway/loop-headroom.ts';

/** A loop whose work and rest since the last who was let in are set by hand. */
function loop() {
  const spent = { active: 0, idle: 0, utilization: 0 };
  const clock: LoopClock = {
    since: () => spent,
    now: () => {
      Object.assign(spent, { active: 0, idle: 0 });
      return spent;
    },
  };
  return { spent, headroom: new LoopHeadroom(clock) };
}

describe('LoopHeadroom', () => {
  beforeEach(() => jest.useFakeTimers());
  afterEach(() => jest.useRealTimers());

  it('lets one in at once while the loop mostly rests', async () => {
    const { spent, headroom } = loop();
    Object.assign(spent, { active: 1, idle: 9 });
    await headroom.wait();
    expect(jest.getTimerCount()).toBe(0);
  });

  it('waits until the loop has rested a quarter of the time since the last, for one after the other', async () => {
    const { spent, headroom } = loop();
    Object.assign(spent, { active: 3, idle: 0 });
    const letIn: string[] = [];
    void headroom.wait().then(() => {
      letIn.push('first');
      Object.assign(spent, { active: 3, idle: 0 });
    });
    void headroom.wait().then(() => letIn.push('second'));
    await jest.advanceTimersByTimeAsync(2);
    expect(letIn).toEqual([]);
    spent.idle = 1;
    await jest.advanceTimersByTimeAsync(1);
    expect(letIn).toEqual(['first']);
    spent.idle = 1;
    await jest.advanceTimersByTimeAsync(1);
    expect(letIn).toEqual(['first', 'second']);
  });

  it('keeps nobody waiting for ever behind a loop that never rests', async () => {
    const { spent, headroom } = loop();
    Object.assign(spent, { active: 50, idle: 0 });
    let isIn = false;
    void headroom.wait().then(() => (isIn = true));
    await jest.advanceTimersByTimeAsync(9);
    expect(isIn).toBe(false);
    await jest.advanceTimersByTimeAsync(1);
    expect(isIn).toBe(true);
  });
});
