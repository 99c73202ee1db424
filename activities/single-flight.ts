// Steps that ask for the same thing at the same moment are answered by one run.

/**
 * Calls with a key that is being worked on join that run, its failure included; nothing is kept once it has ended.
 * @param keyOf what makes two inputs the same; by default the input itself
 */
export function singleFlight<Input, Result>(
  work: (input: Input) => Promise<Result>,
  keyOf: (input: Input) => unknown = (input) => input,
): (input: Input) => Promise<Result> {
  const running = new Map<unknown, Promise<Result>>();
  return (input) => {
    const key = keyOf(input);
    const known = running.get(key);
    if (known !== undefined) return known;
    const run = work(input).finally(() => running.delete(key));
    running.set(key, run);
    return run;
  };
}
