// Steps that ask for the same thing at the same moment are answered by one run.

/** Calls with a key that is being worked on join that run, its failure included; nothing is kept once it has ended. */
export function singleFlight<Key, Result>(
  work: (key: Key) => Promise<Result>,
): (key: Key) => Promise<Result> {
  const running = new Map<Key, Promise<Result>>();
  return (key) => {
    const known = running.get(key);
    if (known !== undefined) return known;
    const run = work(key).finally(() => running.delete(key));
    running.set(key, run);
    return run;
  };
}
