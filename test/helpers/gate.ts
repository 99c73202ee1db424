/** A gate that holds the fake model before a token until it is opened. */
export function gateAt(index: number): {
  beforeToken: (at: number) => Promise<void>;
  open: () => void;
} {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return {
    open,
    beforeToken: (at) => (at === index ? opened : new Promise((resolve) => setImmediate(resolve))),
  };
}
