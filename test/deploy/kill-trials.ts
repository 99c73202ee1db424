// Trials of the on-demand suite: one turn each, with a process killed at a token of it; the turn has to come out as the
// unkilled one did, stored once and billed once.
import { call, newConversation } from '../helpers/turn-client.ts';
import { startSystem } from '../helpers/system.ts';
import { wholeTurn } from '../helpers/whole-turn.ts';
import type { TestSystem } from '../helpers/system.ts';
import type { Caller } from '../helpers/turn-client.ts';
import type { WholeTurn } from '../helpers/whole-turn.ts';

const NUM_TOKENS = 200;
const STORY = 'Write a very long story about a lighthouse keeper.';
/** Greedy and drawn: both have to go on to the very same tokens. */
const BODIES = [
  { content: STORY, temperature: 0, max_tokens: NUM_TOKENS },
  { content: STORY, temperature: 1, seed: 7, max_tokens: NUM_TOKENS },
];
/** Log entries after which the kill comes: before anything, with `open`, among the tokens, with the last ones. */
const KILL_AFTER = [0, 1, 2, 5, 9, 14, 20, 27, 35, 42];

export interface Victim {
  /** Kills; resolves once it is dead. */
  kill(turnId: string): Promise<void>;
  /** Resolves when the set-up is whole again. */
  recover(): Promise<void>;
}

export interface TrialRow {
  readonly trial: number;
  readonly killAfter: number;
  readonly maxGapMs: number;
  readonly totalMs: number;
  readonly numRefused: number;
  readonly numResumed: number;
  readonly numRetries: number;
}

export class KillTrials {
  readonly system: TestSystem;
  readonly #unkilled: readonly WholeTurn[];
  readonly rows: TrialRow[] = [];

  private constructor(system: TestSystem, unkilled: readonly WholeTurn[]) {
    this.system = system;
    this.#unkilled = unkilled;
  }

  /** A system of two gateways and two workers on `env`, and the texts that no kill disturbed. */
  static async start(env: Readonly<Record<string, string>>): Promise<KillTrials> {
    const system = await startSystem({ gateways: 2, workers: { default: 2 }, env });
    const unkilled: WholeTurn[] = [];
    const callers = callersOf(system);
    for (const body of BODIES)
      unkilled.push(await wholeTurn(callers, await conversation(callers), body));
    return new KillTrials(system, unkilled);
  }

  get callers(): Caller[] {
    return callersOf(this.system);
  }

  /** One turn with a kill in it; throws what a reader or a bookkeeper would complain of. */
  async run(trial: number, victim: Victim): Promise<void> {
    const body = BODIES[trial % BODIES.length] ?? {};
    const unkilled = this.#unkilled[trial % BODIES.length];
    const killAfter = KILL_AFTER[trial % KILL_AFTER.length] ?? 0;
    const conversationId = await conversation(this.callers);
    let killing: Promise<void> | null = killAfter === 0 ? victim.kill('') : null;
    const turn = await wholeTurn(this.callers, conversationId, body, ({ id }, turnId) => {
      if (killing === null && id >= killAfter) killing = victim.kill(turnId);
    });
    expect(killing).not.toBeNull();
    await killing;
    await victim.recover();
    this.rows.push({
      trial,
      killAfter,
      maxGapMs: Math.round(turn.maxGapMs),
      totalMs: Math.round(turn.totalMs),
      numRefused: turn.numRefused,
      numResumed: turn.numResumed,
      numRetries: turn.events.filter(({ event }) => event === 'retry').length,
    });
    expect(turn.text).toBe(unkilled?.text);
    await expectStoredOnce(this.callers, conversationId, turn.text);
  }

  /** The user's ledger: every token of every turn once. */
  async expectBilledOnce(): Promise<void> {
    const [caller] = this.callers;
    if (caller === undefined) throw new Error('There is no gateway.');
    const { json } = await call(caller, 'GET', '/v1/usage');
    expect(json['completion_tokens']).toBe((BODIES.length + this.rows.length) * NUM_TOKENS);
  }

  /** What the trials showed, one line each, for the person who runs them. */
  report(title: string): void {
    const head = 'trial  kill after entry  longest gap ms  total ms  refused  resumed  retries';
    const lines = this.rows.map((row) =>
      [
        String(row.trial + 1).padStart(5),
        String(row.killAfter).padStart(16),
        String(row.maxGapMs).padStart(14),
        String(row.totalMs).padStart(8),
        String(row.numRefused).padStart(7),
        String(row.numResumed).padStart(7),
        String(row.numRetries).padStart(7),
      ].join('  '),
    );
    const calm = this.#unkilled.map(({ totalMs }) => Math.round(totalMs)).join(' and ');
    process.stdout.write(`\n${title}; unkilled: ${calm} ms\n${head}\n${lines.join('\n')}\n`);
  }
}

function callersOf(system: TestSystem): Caller[] {
  const { gateways, tokens } = system.endpoints();
  return gateways.map((gateway) => ({ gateway, token: tokens.enterprise }));
}

async function conversation([first, second]: readonly Caller[]): Promise<string> {
  const id = await newConversation(first ?? { gateway: '', token: '' });
  if (id === 'undefined') return newConversation(second ?? { gateway: '', token: '' });
  return id;
}

async function expectStoredOnce(
  [caller]: readonly Caller[],
  conversationId: string,
  text: string,
): Promise<void> {
  if (caller === undefined) throw new Error('There is no gateway.');
  const { json } = await call(caller, 'GET', `/v1/conversations/${conversationId}`);
  const turns = json['turns'] as { role: string; content: string; usage: unknown }[];
  expect(turns.map(({ role }) => role)).toEqual(['user', 'assistant']);
  expect(turns[1]).toMatchObject({
    content: text,
    finish_reason: 'length',
    usage: { completion_tokens: NUM_TOKENS },
  });
}
