// Loaded into the gateway under test before its own code: SIGUSR2 collects garbage, so that memory can be told apart from
// what merely has not been collected yet. Node is started with --expose-gc.

process.on('SIGUSR2', () => {
  (globalThis as unknown as { gc(): void }).gc();
});
