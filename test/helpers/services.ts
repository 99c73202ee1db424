// The services of one jest run: started by global-setup.ts, handed to every test file through the environment.

export interface TestServices {
  /** A database of the embedded PostgreSQL that may create others; tests use their own (database.ts). */
  readonly databaseUrl: string;
  /** The embedded Valkey; tests use keys of their own. */
  readonly redisUrl: string;
  /** A Valkey cluster of three primaries without replicas; tests use keys of their own. */
  readonly redisClusterUrl: string;
  /** host:port of the embedded Temporal, namespace `default`. */
  readonly temporalAddress: string;
  /** Our workflows, bundled once for this run. */
  readonly workflowBundlePath: string;
  /** Binary of the time-skipping test server; it takes a port as its one argument. */
  readonly timeSkippingServerPath: string;
}

const VARIABLE = 'COLLOQUY_TEST_SERVICES';

/** @throws Error when the project has no global set-up (unit tests must not need services) */
export function services(): TestServices {
  const text = process.env[VARIABLE];
  if (text === undefined)
    throw new Error('Only the contract, integration and e2e projects have services.');
  return JSON.parse(text) as TestServices;
}

/** Called by global-setup.ts before any test file runs. */
export function publishServices(value: TestServices): void {
  process.env[VARIABLE] = JSON.stringify(value);
}
