// A system with two of everything that serves turns, the texts of unbroken turns, and the claim that a broken one is whole.
import { startSystem } from './system.ts';
import type { SystemOptions, TestSystem } from './system.ts';
import { enoughReady, everyProcessReady, processesOf } from './system-processes.ts';
import type { ProcessEntry } from '../../runtime/run-files.ts';
import { openTurnAudit } from './turn-audit.ts';
import type { TurnAudit } from './turn-audit.ts';
import { newConversation } from './turn-client.ts';
import type { Caller } from './turn-client.ts';
import { followTurn } from './turn-follower.ts';
import type { FollowedTurn } from './turn-follower.ts';
import { waitFor } from './wait-for.ts';

/**
 * What is killed comes back with a growing back-off: with more than two of each, many trials in a row need not wait for every
 * one.
 */
const NUM_WORKERS = Number(process.env['COLLOQUY_WORKERS'] ?? 2);
const NUM_GATEWAYS = Number(process.env['COLLOQUY_GATEWAYS'] ?? 2);
/** Two of these are enough to begin a turn, or as many as there are. */
const SPARE = ['inference-default-', 'gateway-'];
export const NUM_TOKENS = 200;
const STORY = 'Write a very long story about a lighthouse keeper.';

/** Requests that between them use all that a continued attempt has to rebuild. Even ones are greedy, odd ones drawn. */
export const BODIES = [
  { content: STORY, temperature: 0 },
  { content: STORY, temperature: 1, seed: 7 },
  // Text that repeats itself is guessed ahead (prompt lookup); the stop string's beginning is held back again and again.
  {
    content: `${STORY} Repeat each sentence twice.`,
    temperature: 0,
    stop: [' the lighthouse zebra'],
  },
  // Penalties count what was emitted; emoji are characters of several tokens.
  {
    content: 'Write a long list of emoji: 😀 🎉 🌊 🗼 and so on.',
    temperature: 0.9,
    seed: 11,
    frequency_penalty: 0.6,
    presence_penalty: 0.3,
  },
].map((body) => ({ ...body, max_tokens: NUM_TOKENS }));

export interface FailoverScene {
  readonly system: TestSystem;
  /** Of all processes. */
  readonly names: readonly string[];
  readonly audit: TurnAudit;
  /** The gateways as they are now. */
  callers(): Caller[];
  /** The gateway at which the last turn was begun. */
  ownGateway(): ProcessEntry;
  /** Begins turn `which` (of BODIES, counted round) with everything well but spare workers; waits for its `event`-th event, 0: for nothing. */
  begin(which: number, event: number): Promise<FollowedTurn>;
  /** The same with any request; expectWholeAs() compares it with a turn that is taken then. */
  beginWith(body: object, event: number): Promise<FollowedTurn>;
  /** The same without a look at whether everything is well: while there is no supervisor it is not. */
  beginOrphaned(which: number, event: number): Promise<FollowedTurn>;
  /** Resolves when one more turn has been accepted since the last call or begin(). */
  turnAccepted(): Promise<void>;
  /** The turn is done, as the unbroken one, once: for the reader, in the log, in the store, on the bill. */
  expectWhole(turn: FollowedTurn, which: number): Promise<void>;
  expectWholeAs(turn: FollowedTurn, body: object): Promise<void>;
  close(): Promise<void>;
}

interface Unbroken {
  readonly text: string;
  readonly finishReason: unknown;
  readonly numTokens: number;
}

export async function startFailoverScene(options: SystemOptions = {}): Promise<FailoverScene> {
  const system = await startSystem({
    gateways: NUM_GATEWAYS,
    workers: { default: NUM_WORKERS },
    ...options,
  });
  const audit = await openTurnAudit(system);
  const names = system.processes().map(({ name }) => name);
  const callers = (): Caller[] => {
    const { gateways, gateway, tokens } = system.endpoints();
    return (gateways ?? [gateway]).map((each) => ({ gateway: each, token: tokens.enterprise }));
  };
  let own: ProcessEntry | undefined;
  const ownGateway = (): ProcessEntry => {
    if (own === undefined) throw new Error('No turn was begun.');
    return own;
  };
  /** Takes a turn at `gateway`; its reader goes on at the others. */
  const take = async (body: object, gateway: ProcessEntry): Promise<FollowedTurn> => {
    own = gateway;
    const isOwn = (caller: Caller): boolean => `${caller.gateway}/metrics` === gateway.metrics_url;
    const ownFirst = (): Caller[] =>
      callers().sort((one, other) => Number(isOwn(other)) - Number(isOwn(one)));
    const [caller] = ownFirst();
    if (caller === undefined) throw new Error('There is no gateway.');
    const conversationId = await newConversation(caller);
    return followTurn(ownFirst, conversationId, body);
  };
  const bodyOf = (which: number): object => BODIES[which % BODIES.length] ?? {};
  const takeUnbroken = async (body: object): Promise<Unbroken> => {
    const [gateway] = processesOf(system, 'gateway');
    if (gateway === undefined) throw new Error('There is no gateway.');
    const turn = await take(body, gateway);
    await turn.done;
    const end = turn.events.at(-1)?.data as {
      finish_reason: string;
      usage: { completion_tokens: number };
    };
    // Nothing was broken yet: what is not whole now would make every later comparison false.
    expect(['stop', 'length']).toContain(end.finish_reason);
    return {
      text: turn.text,
      finishReason: end.finish_reason,
      numTokens: end.usage.completion_tokens,
    };
  };
  const unbroken = new Map<object, Unbroken>();
  for (const body of BODIES) unbroken.set(body, await takeUnbroken(body));

  let numBegun = 0;
  const beginAt = async (
    body: object,
    event: number,
    ready: readonly ProcessEntry[],
  ): Promise<FollowedTurn> => {
    numAccepted = await countAccepted();
    const gateways = ready.filter(({ kind }) => kind === 'gateway');
    const gateway = gateways[numBegun++ % gateways.length];
    if (gateway === undefined) throw new Error('There is no gateway.');
    const turn = await take(body, gateway);
    if (event > 0) await turn.until(({ id }) => id >= event);
    return turn;
  };
  const beginWith = async (body: object, event: number): Promise<FollowedTurn> =>
    beginAt(body, event, await enoughReady(system, names, SPARE));
  const begin = (which: number, event: number): Promise<FollowedTurn> =>
    beginWith(bodyOf(which), event);
  const beginOrphaned = (which: number, event: number): Promise<FollowedTurn> =>
    beginAt(bodyOf(which), event, system.processes());

  let numAccepted = 0;
  const countAccepted = async (): Promise<number> => {
    const { rows } = await audit.db.query<{ count: string }>('select count(*) from turn_requests');
    return Number(rows[0]?.count ?? 0);
  };
  const turnAccepted = async (): Promise<void> => {
    await waitFor('a turn is accepted', async () => (await countAccepted()) > numAccepted);
  };

  const expectWholeAs = async (turn: FollowedTurn, body: object): Promise<void> => {
    await turn.done;
    const known = unbroken.get(body) ?? (await enoughReady(system, names, SPARE), null);
    const { text, finishReason, numTokens } = known ?? (await takeUnbroken(body));
    expect(turn.text).toBe(text);
    expect(turn.events.at(-1)).toMatchObject({
      event: 'done',
      data: { finish_reason: finishReason, usage: { completion_tokens: numTokens } },
    });
    expect(turn.events.filter(({ event }) => event === 'done' || event === 'open')).toHaveLength(2);
    const record = await audit.recordOf(turn.turnId);
    expect(record.replies).toEqual([
      { content: text, finish_reason: finishReason, completion_tokens: numTokens },
    ]);
    expect(record.ledger).toMatchObject([{ completion_tokens: numTokens }]);
    expect(record.entryNumbers).toEqual(record.entryNumbers.map((_, index) => index + 1));
    if (record.entryNumbers.length > 0)
      expect([record.loggedText, record.loggedTokens]).toEqual([text, numTokens]);
  };

  const expectWhole = (turn: FollowedTurn, which: number): Promise<void> =>
    expectWholeAs(turn, bodyOf(which));

  const close = async (): Promise<void> => {
    await audit.close();
    await system.stop();
  };
  return {
    ...{ system, names, audit, callers, ownGateway, close },
    ...{ begin, beginWith, beginOrphaned, turnAccepted, expectWhole, expectWholeAs },
  };
}

/** Nothing of any turn is left: no open workflow or request, no block in use, no key that would stay for ever. */
export async function expectNothingLeft(
  { system, names, audit }: FailoverScene,
  usedBlocks: () => Promise<number>,
): Promise<void> {
  await everyProcessReady(system, names);
  await waitFor('every turn has ended', async () => (await audit.numOpenRequests()) === 0, 60_000);
  await waitFor('no workflow is open', async () => (await audit.numOpenWorkflows()) === 0, 60_000);
  await waitFor('no block is used', async () => (await usedBlocks()) === 0, 15_000);
  expect(await audit.keysWithoutTtl()).toEqual([]);
}
