// Handing back what a lost worker ran, on real Temporal: exactly its attempt fails, and the next one begins at once.
import { Runtime } from '@temporalio/worker';
import type { LeasedTask } from '../../../contracts/process-leases.ts';
import { findTurn } from '../../../postgres/turns.ts';
import { createLogger } from '../../../process/logger.ts';
import { createLostTasks } from '../../../process/lost-tasks.ts';
import { textOf } from '../../helpers/entry-text.ts';
import { fakeServedModel } from '../../helpers/fake-served-model.ts';
import { services } from '../../helpers/services.ts';
import { startTurnHarness } from '../../helpers/turn-harness.ts';
import type { TurnHarness } from '../../helpers/turn-harness.ts';
import { waitFor } from '../../helpers/wait-for.ts';

let harness: TurnHarness;
beforeAll(async () => {
  harness = await startTurnHarness();
}, 60_000);
afterAll(async () => {
  await harness.close();
  await Runtime.instance().shutdown();
}, 30_000);

function lostTasks(): ReturnType<typeof createLostTasks> {
  return createLostTasks({
    connection: harness.temporal,
    settings: {
      address: services().temporalAddress,
      namespace: 'default',
      workflowBundle: services().workflowBundlePath,
      stackTraces: false,
    },
    logger: createLogger('test', { logLevel: 'fatal', processName: '' }),
  });
}

/** A turn that `model` has begun to answer, and the tasks that its worker holds. */
async function serveOn(model: ReturnType<typeof fakeServedModel>) {
  const held: LeasedTask[] = [];
  const stop = await harness.startPool('mini', model, {
    hold: (task) => {
      held.push(task);
      return () => undefined;
    },
  });
  const turn = await harness.accept(await harness.newConversation(), 'letters');
  const running = (await harness.start(turn)).result();
  await harness.entry(turn.turnId, (entry) => entry.type === 'token');
  return { held, stop, turn, running };
}

describe('a lost worker', () => {
  it('has its turn continued by another one at the next token; what it says later is refused', async () => {
    let wake: () => void = () => undefined;
    const frozen = new Promise<void>((resolve) => (wake = resolve));
    // The first attempt stops after three tokens, as a frozen worker's would; later ones run through.
    const model = fakeServedModel({
      reply: 'abcdefgh',
      beforeToken: (index) =>
        index === 3 && model.engine.numSubmitted === 1 ? frozen : Promise.resolve(),
    });
    const { held, stop, turn, running } = await serveOn(model);
    const handBack = lostTasks();
    await handBack({ process: 'lost', tasks: held });
    const retry = await harness.entry(turn.turnId, (entry) => entry.type === 'retry');
    expect(retry).toMatchObject({ data: { attempt: 2, continuation: 'tokens' } });
    wake();
    await running;
    // Handed back once more by a slower watcher: the token stands for an attempt that is over.
    await handBack({ process: 'lost', tasks: held.slice(0, 1) });
    const entries = await harness.entries(turn.turnId);
    expect(textOf(entries)).toBe('abcdefgh');
    expect(entries.map(({ n }) => n)).toEqual(entries.map((_, index) => index + 1));
    expect(await findTurn(harness.db, turn.conversationId, turn.turnId)).toMatchObject({
      content: 'abcdefgh',
      finishReason: 'stop',
      usage: { completion_tokens: 8 },
    });
    await stop();
  });

  it('that was only starved, and takes its own turn again, does not use up the turn’s attempts', async () => {
    let wake: () => void = () => undefined;
    const awake = new Promise<void>((resolve) => (wake = resolve));
    const model = fakeServedModel({
      reply: 'abcdefgh',
      beforeToken: (index) => (index === 3 ? awake : Promise.resolve()),
    });
    const { held, stop, turn, running } = await serveOn(model);
    const [task] = held;
    const { pendingActivities } = await harness.temporal.workflowService.describeWorkflowExecution({
      namespace: 'default',
      execution: { workflowId: task?.workflowId ?? '', runId: task?.runId ?? '' },
    });
    const process = pendingActivities?.[0]?.lastWorkerIdentity ?? '';
    await lostTasks()({ process, tasks: held.slice(0, 1) });
    // The lost attempt, and one for each poll that the process may have had open.
    await waitFor('it has the turn again', () => held.length === 4);
    await expect(waitFor('it is handed back again', () => held.length > 4, 1500)).rejects.toThrow();
    wake();
    await running;
    expect(textOf(await harness.entries(turn.turnId))).toBe('abcdefgh');
    await stop();
  }, 60_000);
});
