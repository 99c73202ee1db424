// Workflow executions as something that can be found and deleted. Their histories hold ids and small facts only; of what was
// erased not even those are to stay.
import type { Client } from '@temporalio/client';

export interface Executions {
  /** Ids of executions, running or closed, whose workflow ids begin with `<prefix>/`; at most `limit`. */
  find(prefix: string, limit: number): Promise<Execution[]>;
  /** A running one is terminated. One that is gone already is no fault. */
  delete(execution: Execution): Promise<void>;
}

export interface Execution {
  readonly workflowId: string;
  readonly runId: string;
}

/** gRPC status NOT_FOUND. */
const NOT_FOUND = 5;

export function createExecutions(client: Client): Executions {
  const { namespace } = client.options;
  return {
    find: async (prefix, limit) => {
      const { executions } = await client.workflowService.listWorkflowExecutions({
        namespace,
        pageSize: limit,
        // Prefixes are ids of ours: no quote can be in them.
        query: `WorkflowId STARTS_WITH '${prefix}/'`,
      });
      return (executions ?? []).map(({ execution }) => ({
        workflowId: execution?.workflowId ?? '',
        runId: execution?.runId ?? '',
      }));
    },
    delete: async (workflowExecution) => {
      await client.workflowService
        .deleteWorkflowExecution({ namespace, workflowExecution })
        .catch((error: unknown) => {
          if ((error as { code?: unknown }).code !== NOT_FOUND) throw error;
        });
    },
  };
}
