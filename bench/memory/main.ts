// npm run bench:memory [-- --turns 300]: what recall adds to the time to the first token; with --quality instead how good
// memory is (quality.ts). On the running system that COLLOQUY_HOME describes, a user with 200 facts takes turns with memory on and off by turns, each in a new conversation.
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { openConversation, runTimedTurn } from '../load/timed-turn.ts';
import { runningSystem } from '../running-system.ts';
import { quantile, summary } from '../statistics.ts';
import { readStages } from '../turn-latency/full-path.ts';
import type { System } from '../turn-latency/full-path.ts';
import { reportQuality } from './quality.ts';
import { FACTS, MESSAGES } from './samples.ts';

/** Facts of one PATCH. */
const MAX_ADDED = 100;
const NUM_WARM_UP = 12;

interface Target extends System {
  readonly userId: string;
}

async function send(
  { gateway, token }: Target,
  method: string,
  path: string,
  body?: object,
): Promise<unknown> {
  const response = await fetch(`${gateway}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status}`);
  return response.status === 204 ? null : response.json();
}

async function addFacts(target: Target): Promise<void> {
  const memory = `/v1/users/${target.userId}/memory`;
  await send(target, 'DELETE', memory);
  for (let first = 0; first < FACTS.length; first += MAX_ADDED)
    await send(target, 'PATCH', memory, { add: FACTS.slice(first, first + MAX_ADDED) });
}

/** @returns ms from the request to the first token, and of the wait for facts behind everything else */
async function turn(
  target: Target,
  index: number,
  isOn: boolean,
): Promise<{ ttftMs: number; recallMs: number; acceptMs: number }> {
  const { gateway, token } = target;
  const conversationId = await openConversation(gateway, token);
  if (!isOn)
    await send(target, 'PATCH', `/v1/conversations/${conversationId}`, { memory_enabled: false });
  const before = await readStages(target);
  const body = {
    role: 'user',
    content: MESSAGES[index % MESSAGES.length],
    max_tokens: 2,
    temperature: 0,
  };
  const { ttftMs, status } = await runTimedTurn(
    gateway,
    token,
    conversationId,
    body,
    performance.now(),
  );
  if (ttftMs === null) throw new Error(`a turn gave no token: ${status}`);
  const after = await readStages(target);
  const spent = (stage: string): number =>
    ((after.get(stage)?.sum ?? 0) - (before.get(stage)?.sum ?? 0)) * 1000;
  return { ttftMs, recallMs: spent('opening'), acceptMs: spent('accept') };
}

async function outcomes({ gateway }: Target): Promise<Record<string, number>> {
  const text = await (await fetch(`${gateway}/metrics`)).text();
  const found = text.matchAll(/^colloquy_memory_recalls_total\{outcome="(\w+)"\} (\d+)/gmu);
  return Object.fromEntries([...found].map(([, name, count]) => [name ?? '', Number(count)]));
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      turns: { type: 'string', default: '300' },
      quality: { type: 'boolean', default: false },
    },
  });
  const report = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
  if (values.quality) return reportQuality(report);
  const { gateway, tokens, users } = runningSystem();
  const target: Target = {
    gateway,
    token: tokens['enterprise'] ?? '',
    userId: users['enterprise'] ?? '',
    metricsUrls: [`${gateway}/metrics`],
  };
  await addFacts(target);
  const samples = {
    on: [] as number[],
    off: [] as number[],
    recall: [] as number[],
    accept: [] as number[],
  };
  for (let index = 0; index < NUM_WARM_UP; index += 1) await turn(target, index, index % 2 === 0);
  const earlier = await outcomes(target);
  for (let index = 0; index < Number(values.turns); index += 1) {
    const [isFirstOn, which] = [index % 2 === 0, index];
    for (const isOn of [isFirstOn, !isFirstOn]) {
      const { ttftMs, recallMs, acceptMs } = await turn(target, which, isOn);
      samples[isOn ? 'on' : 'off'].push(ttftMs);
      if (isOn) samples.recall.push(recallMs);
      if (isOn) samples.accept.push(acceptMs);
    }
  }
  const later = await outcomes(target);
  const pairs = samples.on.map((each, at) => each - (samples.off[at] ?? NaN));
  const added = (q: number): number =>
    Math.round((quantile(samples.on, q) - quantile(samples.off, q)) * 100) / 100;
  const line = {
    bench: 'memory',
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    turns: Number(values.turns),
    facts: FACTS.length,
    ttftOnMs: summary(samples.on),
    ttftOffMs: summary(samples.off),
    addedMs: { p50: added(0.5), p90: added(0.9), p99: added(0.99) },
    pairedMs: summary(pairs),
    /** The wait behind acceptance, embedding and statement: what recall can add on a quiet machine. */
    waitedMs: summary(samples.recall),
    acceptMs: summary(samples.accept),
    outcomes: Object.fromEntries(
      Object.entries(later).map(([name, count]) => [name, count - (earlier[name] ?? 0)]),
    ),
  };
  report(line);
}

void main();
