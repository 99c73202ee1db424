// A Temporal worker whose workflow thread is watched as a whole and tracks promises only when asked. The SDK's own sets a
// time-out for each call into the thread, for which Node makes and joins another one, and records a stack for each promise:
// a third of a gateway's CPU together. See docs/decisions/0011.
import { Worker as Thread } from 'node:worker_threads';
import { Worker } from '@temporalio/worker';
import type { CompiledWorkerOptions, Logger } from '@temporalio/worker';
import type { WorkflowCreator } from '@temporalio/worker/lib/workflow/interface';
import {
  ThreadedVMWorkflowCreator,
  WorkerThreadClient,
} from '@temporalio/worker/lib/workflow/threaded-vm';
import type { WorkflowBundleWithSourceMapAndFilename } from '@temporalio/worker/lib/workflow/workflow-worker-thread/input';
import { projectPath } from './paths.ts';
import { WorkflowWatch } from './workflow-watch.ts';

/** What process/workflow-thread.ts is told. */
export interface ThreadSettings {
  readonly recordsStacks: boolean;
}

export class WatchedWorker extends Worker {
  protected static override async createWorkflowCreator(
    bundle: WorkflowBundleWithSourceMapAndFilename,
    options: CompiledWorkerOptions,
    logger: Logger,
  ): Promise<WorkflowCreator> {
    const settings: ThreadSettings = { recordsStacks: options.showStackTraceSources };
    const thread = new WorkerThreadClient(
      new Thread(projectPath('dist', 'process', 'workflow-thread.js'), { workerData: settings }),
      logger,
    );
    await thread.send({
      type: 'init',
      workflowBundle: bundle,
      // Node takes an absent time-out for none; the SDK's type has no word for that.
      isolateExecutionTimeoutMs: undefined as unknown as number,
      reuseV8Context: true,
      registeredActivityNames: new Set(options.activities.keys()),
      hasPatchActivationCallback: false,
    });
    return new WorkflowWatch(new ThreadedVMWorkflowCreator([thread]));
  }
}
