// A background worker for the turn harness: the real workflows and activities of deletion and retention.
import { randomUUID } from 'node:crypto';
import { createErasureActivities } from '../../activities/erasure.ts';
import { createRetentionActivities } from '../../activities/retention.ts';
import { loadCatalog } from '../../contracts/catalog.ts';
import type { Catalog } from '../../contracts/catalog.ts';
import { BACKGROUND_TASK_QUEUE } from '../../contracts/turn-workflow.ts';
import { createExecutions } from '../../process/executions.ts';
import { createLogger } from '../../process/logger.ts';
import { projectPath } from '../../process/paths.ts';
import type { TurnHarness } from './turn-harness.ts';

/** @returns what stops it. @param change edits the shipped catalogue */
export async function startBackground(
  harness: TurnHarness,
  change: (catalog: Catalog) => Catalog = (catalog) => catalog,
): Promise<() => Promise<void>> {
  const deps = {
    ...harness,
    executions: createExecutions(harness.dispatch.client),
    logger: createLogger('test', { logLevel: 'fatal', processName: '' }),
    catalog: change(loadCatalog(projectPath('config', 'catalog.yaml'))),
    ownerUrls: [harness.databaseUrl],
  };
  return harness.startBackground({
    ...createErasureActivities(deps),
    ...createRetentionActivities(deps),
  });
}

/** Runs a workflow of the background to its end. */
export function runBackground<Result>(
  { dispatch }: TurnHarness,
  workflowType: string,
  ...args: unknown[]
): Promise<Result> {
  return dispatch.client.workflow.execute(workflowType, {
    taskQueue: BACKGROUND_TASK_QUEUE,
    workflowId: `test/${randomUUID()}`,
    args,
  }) as Promise<Result>;
}
