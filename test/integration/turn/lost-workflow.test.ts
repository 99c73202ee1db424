// The last line: a turn whose workflow has ended without storing it (it timed out, an operator ended it) is closed by
// housekeeping, so no conversation stays "generating", and the worker that still generates it lets go.
import { Runtime } from '@temporalio/worker';
import { loadCatalog } from '../../../contracts/catalog.ts';
import { createMaintenanceActivities } from '../../../activities/maintenance.ts';
import { persistTurn } from '../../../activities/persist-turn.ts';
import { rows } from '../../../postgres/pool.ts';
import { findTurn } from '../../../postgres/turns.ts';
import { runningTurns } from '../../../postgres/turn-requests.ts';
import { createLogger } from '../../../process/logger.ts';
import { createMetrics } from '../../../process/metrics.ts';
import { projectPath } from '../../../process/paths.ts';
import { fakeServedModel } from '../../helpers/fake-served-model.ts';
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

describe('a turn whose workflow was ended in mid-reply', () => {
  it('is closed with what was delivered, its conversation is free, and its sequence is aborted', async () => {
    const model = fakeServedModel({
      reply: 'abcdef',
      beforeToken: (index) => (index < 3 ? Promise.resolve() : new Promise(() => undefined)),
    });
    const stop = await harness.startPool('mini', model);
    const turn = await harness.accept(await harness.newConversation(), 'letters');
    const handle = await harness.start(turn);
    await harness.entry(turn.turnId, (entry) => entry.type === 'token');
    await handle.terminate('by an operator');
    await rows(
      harness.db,
      `update turn_requests set created_at = created_at - interval '5 minutes' where turn_id = $1`,
      [turn.turnId],
    );
    expect(await runningTurns(harness.db, turn.conversationId)).toHaveLength(1);

    const logger = createLogger('test', { logLevel: 'fatal', processName: '' });
    const catalog = loadCatalog(projectPath('config', 'catalog.yaml'));
    const deps = { ...harness, catalog, logger, metrics: createMetrics() };
    const { recoverTurns } = createMaintenanceActivities({
      stores: harness.stores,
      logger,
      workflowState: async () => 'closed',
      start: async () => undefined,
      persistTurn: (input) => persistTurn(deps, input),
    });
    expect(await recoverTurns()).toEqual({ turnsStarted: 0, turnsClosed: 1 });

    expect(await runningTurns(harness.db, turn.conversationId)).toEqual([]);
    const end = await harness.entry(turn.turnId, (entry) => entry.type === 'end');
    expect(end.data).toMatchObject({ finish_reason: 'error' });
    const stored = await findTurn(harness.db, turn.conversationId, turn.turnId);
    expect(stored?.content).toBe('abc');
    await waitFor('its sequence is gone', () => model.engine.stats().running === 0);
    await stop();
  });
});
