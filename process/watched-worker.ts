// A Temporal worker that watches its workflow thread as a whole instead of every call into it. The SDK sets a time-out for
// each call, and for each of these Node makes and joins a thread: a few dozen a turn. See docs/decisions/0009.
import { Worker } from '@temporalio/worker';
import type { CompiledWorkerOptions, Logger } from '@temporalio/worker';
import type { WorkflowCreator } from '@temporalio/worker/lib/workflow/interface';
import type { WorkflowBundleWithSourceMapAndFilename } from '@temporalio/worker/lib/workflow/workflow-worker-thread/input';
import { WorkflowWatch } from './workflow-watch.ts';

export class WatchedWorker extends Worker {
  protected static override async createWorkflowCreator(
    bundle: WorkflowBundleWithSourceMapAndFilename,
    options: CompiledWorkerOptions,
    logger: Logger,
  ): Promise<WorkflowCreator> {
    // Node takes an absent time-out for none; the SDK's type has no word for that.
    const noTimeout = { isolateExecutionTimeoutMs: undefined as unknown as number };
    return new WorkflowWatch(
      await super.createWorkflowCreator(bundle, { ...options, ...noTimeout }, logger),
    );
  }
}
