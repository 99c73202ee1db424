// Reads on whichever node may answer: the nearest replica that has what the read demands, else the primary, and another one
// when that fails. Statements come here only to be read, so asking twice is asking once.
import type { QueryConfig } from 'pg';
import type { ReadNeed } from './node-choice.ts';
import type { NodeSet, StoreNode } from './node-set.ts';
import { isOwnFault } from './pool.ts';
import type { Db, Pool } from './pool.ts';

/** A node that no look reaches any more is left for another one; one of which nothing is known yet after this long. */
const UNKNOWN_MS = 300;
const WATCH_MS = 25;
/** Reads are answered within milliseconds: one that is not is asked of another node too. */
const HEDGE_MS = 300;
/** Without a bound of the caller's own; over the statement time-out of the server. */
const LIMIT_MS = 12_000;
/** Between rounds in which no node answered. */
const PAUSE_MS = 50;

type Asked = QueryConfig & { query_timeout?: number };

/** @param onRead hears which kind of node has answered */
export function reader(
  set: NodeSet,
  need: ReadNeed,
  onRead: (node: 'primary' | 'replica') => void,
): Db {
  const query = async (statement: string | Asked, values: unknown[] = []): Promise<unknown> => {
    const asked: Asked =
      typeof statement === 'string' ? { text: statement, values } : { values, ...statement };
    const deadline = performance.now() + (asked.query_timeout ?? LIMIT_MS);
    const leftMs = (): number => deadline - performance.now();
    for (;;) {
      if (!set.hasPrimary) await set.lookAtReplicas();
      const primary = set.primary;
      const nodes = [...set.readers(need).filter((each) => each !== primary), primary];
      const answer = await firstAnswer(nodes, async (node) => {
        try {
          const result = await whileThere(node, ask(node, asked, Math.max(1, leftMs())));
          return { result, node };
        } catch (error) {
          if (!isOwnFault(error)) set.suspect(node);
          throw error;
        }
      });
      if ('node' in answer) {
        onRead(answer.node === primary ? 'primary' : 'replica');
        return answer.result;
      }
      if (leftMs() <= PAUSE_MS) throw answer.fault;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  };
  return { query } as unknown as Db;
}

/**
 * A pool of the primary whose reads go on without one: what says who a caller is must be known while nothing can be written.
 * @param pool follows the primary
 */
export function readableAnyway(set: NodeSet, pool: Pool): Pool {
  const query = (statement: string | Asked, values: unknown[] = []): Promise<unknown> => {
    const text = typeof statement === 'string' ? statement : statement.text;
    if (!isPlainRead(text)) return pool.query(statement as QueryConfig, values);
    const need = { mark: null, at: performance.now(), maxLagMs: set.maxLagMs };
    return reader(set, need, () => undefined).query(statement as QueryConfig, values);
  };
  return new Proxy(pool, {
    get: (target, name) => (name === 'query' ? query : (Reflect.get(target, name) as unknown)),
  });
}

const isPlainRead = (text: string): boolean =>
  /^\s*select\b/i.test(text) && !/\bfor (no key update|update|key share|share)\b/i.test(text);

interface Answer {
  readonly result: unknown;
  readonly node: StoreNode;
}

/**
 * Asks one node after the other, the next when the one before has failed or takes long: it may be held up by a lock or by its
 * disk. The first answer counts; with none, the last fault. @throws whatever the statement itself is to blame for
 */
async function firstAnswer(
  nodes: readonly StoreNode[],
  askNode: (node: StoreNode) => Promise<Answer>,
): Promise<Answer | { readonly fault: unknown }> {
  let fault: unknown;
  const asked: Promise<Answer | null>[] = [];
  for (const node of nodes) {
    const attempt = askNode(node).catch((error: unknown) => {
      if (isOwnFault(error)) throw error;
      fault = error;
      return null;
    });
    asked.push(attempt);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<null>((resolve) => {
      timer = setTimeout(() => resolve(null), HEDGE_MS);
    });
    // Any of those that were asked before may still be the first.
    const answer = await Promise.race([firstOf(asked), late]);
    clearTimeout(timer);
    if (answer !== null) return answer;
  }
  return (await firstOf(asked)) ?? { fault };
}

/** The first that is not null; null when all are. */
function firstOf(attempts: readonly Promise<Answer | null>[]): Promise<Answer | null> {
  return new Promise((resolve, reject) => {
    let numOpen = attempts.length;
    for (const attempt of attempts)
      attempt.then((answer) => {
        numOpen -= 1;
        if (answer !== null || numOpen === 0) resolve(answer);
      }, reject);
  });
}

async function ask(node: StoreNode, asked: Asked, limitMs: number): Promise<unknown> {
  return node.pool.query({ ...asked, query_timeout: Math.ceil(limitMs) } as QueryConfig);
}

/** The answer, unless the node is lost first: a slow answer is waited for, a frozen server is not. */
function whileThere(node: StoreNode, answer: Promise<unknown>): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const since = performance.now();
    let wasThere = node.watch.view !== null;
    const timer = setInterval(() => {
      const isThere = node.watch.view !== null;
      const isLost = wasThere || performance.now() - since > UNKNOWN_MS;
      wasThere ||= isThere;
      if (isThere || !isLost) return;
      clearInterval(timer);
      reject(new Error('the node does not answer'));
    }, WATCH_MS);
    answer.then(resolve, reject).finally(() => clearInterval(timer));
  });
}
