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

  it('lets who is out of patience pass beside those that hang, and keeps its width afterwards', async () => {
    const turnstile = new Turnstile(1);
    let open: () => void = () => undefined;
    const hanging = turnstile.pass(() => new Promise<void>((resolve) => (open = resolve)));
    expect(await turnstile.pass(async () => 'beside', 1)).toBe('beside');
    const order: string[] = [];
    const patient = turnstile.pass(async () => void order.push('patient'), 60_000);
    order.push('opened');
    open();
    await Promise.all([hanging, patient]);
    expect(order).toEqual(['opened', 'patient']);
    expect(await turnstile.pass(async () => 'free')).toBe('free');
  });
});
