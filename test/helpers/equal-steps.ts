// A clock by which every step takes as long as any other: guesses are cheap, and what happens does not depend on the machine.

/** Every look at the clock is a millisecond after the one before, until the returned function is called. */
export function makeStepsEqual(): () => void {
  let time = 0;
  const spy = jest.spyOn(performance, 'now').mockImplementation(() => (time += 1));
  return () => spy.mockRestore();
}
