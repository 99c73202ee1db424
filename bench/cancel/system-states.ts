// From the client's cancel to free blocks on a running system, by its workers' own gauges, which are asked again and again:
// what a scrape costs is in the figures. At the gateway that has the stream, and at another one.
import { request } from 'node:http';
import { runningSystem } from '../running-system.ts';
import type { RunningProcess, RunningSystem } from '../running-system.ts';

export interface CancelSample {
  /** POST to its answer, to free blocks, and to the end of the stream. */
  readonly answerMs: number;
  readonly freeMs: number;
  readonly doneMs: number;
}

const STORY = 'Write a very long story about the sea.';
const BODIES = {
  'in its prompt': { content: `${STORY} The ships are far away. `.repeat(150), max_tokens: 50 },
  'in its reply': { content: STORY, max_tokens: 2000 },
} as const;
export const SYSTEM_STATES = Object.keys(BODIES) as (keyof typeof BODIES)[];

/** @param atOther the cancel goes to a gateway that has no reader of the turn */
export async function cancelsIn(
  state: keyof typeof BODIES,
  atOther: boolean,
  numTrials: number,
): Promise<CancelSample[]> {
  const system = runningSystem();
  const samples: CancelSample[] = [];
  for (let trial = 0; trial < numTrials; trial += 1)
    samples.push(await cancelOnce(system, state, atOther, trial));
  return samples;
}

async function cancelOnce(
  system: RunningSystem,
  state: keyof typeof BODIES,
  atOther: boolean,
  trial: number,
): Promise<CancelSample> {
  const gateways = system.processes.filter(({ kind }) => kind === 'gateway');
  const [own, other = own] = gateways.map(({ metrics_url: url = '' }) =>
    url.replace('/metrics', ''),
  );
  if (own === undefined) throw new Error('There is no gateway.');
  const headers = {
    authorization: `Bearer ${system.tokens['enterprise'] ?? ''}`,
    'content-type': 'application/json',
  };
  const post = (gateway: string | undefined, path: string, body: object): Promise<Response> =>
    fetch(`${gateway}/v1/conversations${path}`, {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
    });
  const { conversation_id: id } = (await (await post(own, '', {})).json()) as {
    conversation_id: string;
  };
  const body = { ...BODIES[state], content: `${trial}. ${BODIES[state].content}`, role: 'user' };
  const turn = await stream(`${own}/v1/conversations/${id}/turns`, headers, body);
  const workers = system.processes.filter(({ name }) => name.startsWith('inference-default'));
  await until(async () => (await used(workers)) > 0);
  // An entry has one to four tokens.
  if (state === 'in its reply') await turn.tokens(3 + Math.floor(Math.random() * 6));
  const since = performance.now();
  const after = (): number => performance.now() - since;
  const answered = post(atOther ? other : own, `/${id}/cancel`, {}).then(after);
  const done = turn.done.then(after);
  await until(async () => (await used(workers)) === 0);
  const freeMs = after();
  return { answerMs: await answered, freeMs, doneMs: await done };
}

async function until(isTrue: () => Promise<boolean>): Promise<void> {
  while (!(await isTrue()));
}

async function used(workers: readonly RunningProcess[]): Promise<number> {
  const counts = await Promise.all(
    workers.map(async ({ metrics_url: url = '' }) => {
      const text = await (await fetch(url)).text();
      return Number(/^colloquy_engine_kv_blocks\{state="used"[^}]*\} (\d+)/m.exec(text)?.[1] ?? 0);
    }),
  );
  return counts.reduce((sum, each) => sum + each, 0);
}

function stream(
  url: string,
  headers: Record<string, string>,
  body: object,
): Promise<{
  /** Resolves after so many token entries, or at the end. */
  tokens(count: number): Promise<void>;
  readonly done: Promise<void>;
}> {
  return new Promise((resolve, reject) => {
    const sent = request(url, {
      method: 'POST',
      agent: false,
      headers: { ...headers, accept: 'text/event-stream' },
    });
    sent.on('error', reject);
    sent.on('response', (response) => {
      let numTokens = 0;
      const waiting: { readonly count: number; readonly wake: () => void }[] = [];
      response.setEncoding('utf8').on('data', (chunk: string) => {
        numTokens += chunk.split('event: token').length - 1;
        for (const { count, wake } of waiting) if (numTokens >= count) wake();
      });
      resolve({
        tokens: (count) => new Promise((wake) => waiting.push({ count, wake })),
        done: new Promise((ended) =>
          response.on('close', () => {
            for (const { wake } of waiting) wake();
            ended();
          }),
        ),
      });
    });
    sent.end(JSON.stringify(body));
  });
}
