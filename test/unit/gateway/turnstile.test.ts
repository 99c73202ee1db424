import { Turnstile } from '../../../gateway/turnstile.ts';

describe('Turnstile', () => {
  it('lets as many through at a time as it is wide, in the order they came, also after failures', async () => {
    const turnstile = new Turnstile(2);
    const begun: number[] = [];
    let [inside, most] = [0, 0];
    const results = await Promise.allSettled(
      Array.from({ length: 9 }, (_, index) =>
        turnstile.pass(async () => {
          begun.push(index);
          most = Math.max(most, (inside += 1));
          await new Promise((resolve) => setImmediate(resolve));
          inside -= 1;
          if (index % 3 === 0) throw new Error('no');
          return index;
        }),
      ),
    );
    expect([most, inside, begun]).toEqual([2, 0, [0, 1, 2, 3, 4, 5, 6, 7, 8]]);
    expect(results.map(({ status }) => status === 'fulfilled')).toEqual(
      Array.from({ length: 9 }, (_, index) => index % 3 !== 0),
    );
  });

  it('lets all who wait pass beside those that hang once patience ends, and keeps its width afterwards', async () => {
    jest.useFakeTimers();
    try {
      const turnstile = new Turnstile(1, { patienceMs: 100 });
      let open: () => void = () => undefined;
      const hanging = turnstile.pass(() => new Promise<void>((resolve) => (open = resolve)));
      const beside = Promise.all([1, 2].map((each) => turnstile.pass(async () => each)));
      await jest.advanceTimersByTimeAsync(100);
      expect(await beside).toEqual([1, 2]);
      open();
      await hanging;
      let [inside, most] = [0, 0];
      const work = async (): Promise<void> => {
        most = Math.max(most, (inside += 1));
        await new Promise((resolve) => setTimeout(resolve, 10));
        inside -= 1;
      };
      const all = Promise.all([1, 2, 3].map(() => turnstile.pass(work)));
      await jest.advanceTimersByTimeAsync(30);
      await all;
      expect(most).toBe(1);
    } finally {
      jest.useRealTimers();
    }
  });

  it('keeps nobody waiting for longer than its bound, however many pass meanwhile', async () => {
    jest.useFakeTimers();
    try {
      const turnstile = new Turnstile(1, { patienceMs: 100, maxWaitMs: 200 });
      const begun: number[] = [];
      const work = (index: number) => async (): Promise<void> => {
        begun.push(index);
        await new Promise((resolve) => setTimeout(resolve, 80));
      };
      const all = Promise.all([0, 1, 2, 3, 4].map((index) => turnstile.pass(work(index))));
      await jest.advanceTimersByTimeAsync(199);
      expect(begun).toEqual([0, 1, 2]);
      await jest.advanceTimersByTimeAsync(1);
      expect(begun).toEqual([0, 1, 2, 3, 4]);
      await jest.advanceTimersByTimeAsync(80);
      await all;
    } finally {
      jest.useRealTimers();
    }
  });

  it('begins patience anew whenever somebody passes', async () => {
    jest.useFakeTimers();
    try {
      const turnstile = new Turnstile(1, { patienceMs: 100 });
      const work = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 80));
      let [inside, most] = [0, 0];
      const counted = async (): Promise<void> => {
        most = Math.max(most, (inside += 1));
        await work();
        inside -= 1;
      };
      const all = Promise.all([1, 2, 3, 4].map(() => turnstile.pass(counted)));
      await jest.advanceTimersByTimeAsync(4 * 80);
      await all;
      expect(most).toBe(1);
    } finally {
      jest.useRealTimers();
    }
  });

  it('awaits its pace between one and the next, and not when nobody waits', async () => {
    const [order, paced]: [string[], (() => void)[]] = [[], []];
    const pace = (): Promise<void> => new Promise((resolve) => paced.push(resolve));
    const turnstile = new Turnstile(1, { pace });
    const work = (name: string) => turnstile.pass(async () => void order.push(name));
    const first = work('first');
    const others = [work('second'), work('third')];
    await first;
    await new Promise((resolve) => setImmediate(resolve));
    expect([order, paced.length]).toEqual([['first'], 1]);
    paced[0]?.();
    await others[0];
    await new Promise((resolve) => setImmediate(resolve));
    expect([order, paced.length]).toEqual([['first', 'second'], 2]);
    paced[1]?.();
    await Promise.all(others);
    await work('fourth');
    expect([order, paced.length]).toEqual([['first', 'second', 'third', 'fourth'], 2]);
  });
});
