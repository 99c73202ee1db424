// Entry of the thread that runs workflows: the SDK's own code. Its promise hook, which is what Temporal's «call stack» of a
// running workflow is made of, is installed only when WORKFLOW_STACK_TRACES asks for it.
import { workerData } from 'node:worker_threads';
import { globalHandlers } from '@temporalio/worker/lib/workflow/vm-shared';
import type { ThreadSettings } from './watched-worker.ts';
// It listens from here on; the hook is installed with its first message.
import '@temporalio/worker/lib/workflow/workflow-worker-thread';

if (!(workerData as ThreadSettings).recordsStacks)
  Object.assign(globalHandlers, { setPromiseHook: () => undefined });
