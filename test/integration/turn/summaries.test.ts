// Summaries of long conversations on real Temporal, PostgreSQL and Valkey; only the model is fake.
import { Runtime } from '@temporalio/worker';
import { createSummaryActivities } from '../../../activities/summaries.ts';
import { loadCatalog } from '../../../contracts/catalog.ts';
import type { Catalog } from '../../../contracts/catalog.ts';
import type { ConversationId, TurnId, UserId } from '../../../contracts/ids.ts';
import type { TurnInput } from '../../../contracts/turn-workflow.ts';
import { BACKGROUND_TASK_QUEUE } from '../../../contracts/turn-workflow.ts';
import { deleteConversation } from '../../../postgres/erasure.ts';
import { rows } from '../../../postgres/pool.ts';
import { createLogger } from '../../../process/logger.ts';
import { projectPath } from '../../../process/paths.ts';
import { fakeServedModel } from '../../helpers/fake-served-model.ts';
import { storeBranch } from '../../helpers/stored-branch.ts';
import { startTurnHarness } from '../../helpers/turn-harness.ts';
import type { TurnHarness } from '../../helpers/turn-harness.ts';
import { waitFor } from '../../helpers/wait-for.ts';

/** A window of some 12 of the short turns here, leaves of two exchanges, three of them a node above. */
const small = (catalog: Catalog): Catalog => ({
  ...catalog,
  prompt: { window_tokens: 160, summary_span: 2, summary_fan_out: 3, summary_tokens: 30 },
});
const SUMMARY = 'A question, an answer.';
const EARLY = 'An answer.';
const REPLY = 'my reply';
/** A summary is asked with seed 0, a turn of the harness with seed 1. */
const reply = (seed: number): string => (seed === 0 ? SUMMARY : REPLY);

let harness: TurnHarness;
let stopBackground: () => Promise<void>;
const stops: (() => Promise<void>)[] = [];

beforeAll(async () => {
  harness = await startTurnHarness(small);
  const catalog = small(loadCatalog(projectPath('config', 'catalog.yaml')));
  const logger = createLogger('test', { logLevel: 'fatal', processName: '' });
  stopBackground = await harness.startBackground(
    createSummaryActivities({ stores: harness.stores, catalog, logger }),
  );
}, 60_000);
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});
afterAll(async () => {
  await stopBackground();
  await harness.close();
  await Runtime.instance().shutdown();
}, 30_000);

interface NodeRow {
  level: number;
  first_turn_id: TurnId;
  last_turn_id: TurnId;
  text: string;
  version: number | null;
}

const nodesOf = (id: ConversationId): Promise<NodeRow[]> =>
  rows(
    harness.db,
    `select level, first_turn_id, last_turn_id, text, version from conversation_summaries
     where conversation_id = $1 order by last_turn_id, level`,
    [id],
  );

async function sweep(): Promise<number> {
  const { workflow } = harness.dispatch.client;
  return (await workflow.execute('summarySweep', {
    taskQueue: BACKGROUND_TASK_QUEUE,
    workflowId: `sweep/${Date.now()}/${Math.random()}`,
  })) as number;
}

/** Sweeps once and waits for what it began for a conversation. */
async function summarise(id: ConversationId): Promise<void> {
  await sweep();
  await waitFor('the sweep’s work on the conversation is done', async () => {
    const [found] = await rows<{ is_done: boolean }>(
      harness.db,
      'select summary_seen_turn_id = active_turn_id as is_done from conversations where conversation_id = $1',
      [id],
    );
    return found?.is_done;
  });
}

/** Exchanges of 24 tokens by their stored counts; the template's are counted with them. */
const exchanges = (from: number, count: number): string[] =>
  Array.from({ length: count }, (_, at) => [
    `question ${from + at}`,
    `the answer ${from + at}`,
  ]).flat();

const textOf = (ids: readonly number[] = []): string => String.fromCodePoint(...ids);
const run = async (turn: TurnInput): Promise<unknown> => (await harness.start(turn)).result();

describe('summaries', () => {
  it('are made of a long conversation in levels, once, and tell its next turn what its window does not show', async () => {
    const id = await harness.newConversation();
    const ids = await storeBranch(harness.db, id, exchanges(0, 12));
    const model = fakeServedModel({ reply });
    stops.push(await harness.startPool('mini', model));
    await summarise(id);
    const made = await nodesOf(id);
    expect(
      made.map(({ level, first_turn_id, last_turn_id }) => [
        level,
        ids.indexOf(first_turn_id),
        ids.indexOf(last_turn_id),
      ]),
    ).toEqual([
      [0, 0, 3],
      [0, 4, 7],
      [0, 8, 11],
      [1, 0, 11],
      [0, 12, 15],
    ]);
    expect(made.every(({ text, version }) => text === SUMMARY && version === 1)).toBe(true);
    const numAsked = model.engine.numSubmitted;
    expect(numAsked).toBe(5);
    await summarise(id);
    expect([await nodesOf(id), model.engine.numSubmitted]).toEqual([made, numAsked]);

    await run(await harness.accept(id, 'and now?', {}, ids.at(-1)));
    const prompt = textOf(model.engine.requests.at(-1)?.promptTokenIds);
    expect(prompt).toContain(`oldest first:\n- ${SUMMARY}\n- ${SUMMARY}`);
    expect(prompt).not.toContain('question 7');
    expect(prompt).toContain('question 8');
    expect(prompt).toMatch(/and now\?$/);
    // The least urgent work of the pool.
    expect(model.engine.requests.slice(0, numAsked).every(({ priority }) => priority > 5)).toBe(
      true,
    );
  });

  it('change nothing for a turn that was accepted before: a later attempt has the same prompt', async () => {
    const id = await harness.newConversation();
    const ids = await storeBranch(harness.db, id, exchanges(0, 12));
    const turn = await harness.accept(id, 'still there?', {}, ids.at(-1));
    let isHeld = false;
    let reach: () => void = () => undefined;
    const reached = new Promise<void>((resolve) => (reach = resolve));
    const dying = fakeServedModel({
      reply: (seed) => (seed === 0 ? EARLY : REPLY),
      beforeToken: async (index) => {
        if (index < 3 || isHeld) return;
        isHeld = true; // The turn, which comes first; what summarises it goes on.
        reach();
        await new Promise(() => undefined);
      },
    });
    const stopDying = await harness.startPool('mini', dying);
    const ended = run(turn);
    await reached;
    await summarise(id);
    expect((await nodesOf(id)).length).toBeGreaterThan(0);
    await stopDying();
    const heir = fakeServedModel({ reply });
    stops.push(await harness.startPool('mini', heir));
    await ended;
    const [one, other] = [dying, heir].map(({ engine }) =>
      engine.requests.find(({ sampling }) => sampling.seed === 1),
    );
    expect(other?.outputTokenIds).toHaveLength(3);
    expect(textOf(other?.promptTokenIds)).toContain('question 0');
    expect(other?.promptTokenIds).toEqual(one?.promptTokenIds);

    await run(await harness.accept(id, 'and now?', {}, turn.turnId));
    const next = textOf(heir.engine.requests.at(-1)?.promptTokenIds);
    expect(next).toContain(`- ${EARLY}`);
    expect(next).not.toContain('question 0');
  });

  it('of the shared past serve a branch that left it, and go with their conversation', async () => {
    const id = await harness.newConversation();
    const ids = await storeBranch(harness.db, id, exchanges(0, 12));
    const model = fakeServedModel({ reply });
    stops.push(await harness.startPool('mini', model));
    await summarise(id);
    // An edit behind the second leaf: the third one and what is above it are of another branch.
    const turn = await harness.accept(id, 'what if?', {}, ids[9]);
    await run(turn);
    const prompt = textOf(model.engine.requests.at(-1)?.promptTokenIds);
    expect(prompt.split(SUMMARY)).toHaveLength(3);
    expect(prompt).not.toContain('question 3');
    expect(prompt).toMatch(/question 4.*the answer 4.*what if\?$/s);
    expect(prompt).not.toContain('question 5');

    await deleteConversation(harness.db, turn.userId as UserId, id);
    expect(await nodesOf(id)).toEqual([]);
  });

  it('are not looked for again in conversations that their window holds', async () => {
    const id = await harness.newConversation();
    await storeBranch(harness.db, id, exchanges(0, 3));
    await summarise(id);
    expect(await nodesOf(id)).toEqual([]);
  });
});
