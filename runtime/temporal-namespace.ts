// What our workflows need of a Temporal namespace, embedded or external: that it answers, and its search attributes.
import { acceptsConnections } from './probes.ts';
import type { Connection } from '@temporalio/client';

/** All Keyword, set at the start of every turn workflow. */
export const SEARCH_ATTRIBUTES = Object.freeze([
  'Tier',
  'Pool',
  'Model',
  'ConversationId',
] as const);

const KEYWORD = 2; // temporal.api.enums.v1.IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
const CONNECT_TIMEOUT_MS = 3000;

/** True when the frontend answers for the namespace and all search attributes are known. */
export async function isTemporalReady(address: string, namespace: string): Promise<boolean> {
  const [host, port] = splitAddress(address);
  if (!(await acceptsConnections(host, port))) return false;
  try {
    return await withConnection(
      address,
      async (connection) => (await missingAttributes(connection, namespace)).length === 0,
    );
  } catch {
    return false;
  }
}

/**
 * Creates the search attributes that an external namespace lacks.
 * @throws Error in one line when the frontend does not answer, or one of our names has another type there
 */
export async function prepareNamespace(address: string, namespace: string): Promise<void> {
  await withConnection(address, async (connection) => {
    const missing = await missingAttributes(connection, namespace);
    if (missing.length === 0) return;
    const searchAttributes = Object.fromEntries(missing.map((name) => [name, KEYWORD]));
    await connection.operatorService.addSearchAttributes({ namespace, searchAttributes });
  }).catch((error: unknown) => {
    throw new Error(
      `Temporal at ${address} (namespace ${namespace}) cannot be used: ${(error as Error).message}`,
      { cause: error },
    );
  });
}

async function missingAttributes(connection: Connection, namespace: string): Promise<string[]> {
  const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
  const known = customAttributes ?? {};
  for (const name of SEARCH_ATTRIBUTES) {
    if (name in known && known[name] !== KEYWORD)
      throw new Error(`search attribute ${name} exists with another type than Keyword`);
  }
  return SEARCH_ATTRIBUTES.filter((name) => !(name in known));
}

async function withConnection<Result>(
  address: string,
  work: (connection: Connection) => Promise<Result>,
): Promise<Result> {
  // Loaded late: it costs a third of a second, which the other services use to start.
  const { Connection: Client } = await import('@temporalio/client');
  const connection = await Client.connect({ address, connectTimeout: CONNECT_TIMEOUT_MS });
  try {
    return await connection.withDeadline(Date.now() + CONNECT_TIMEOUT_MS, () => work(connection));
  } finally {
    await connection.close();
  }
}

function splitAddress(address: string): [string, number] {
  const colon = address.lastIndexOf(':');
  return [address.slice(0, colon), Number(address.slice(colon + 1))];
}
