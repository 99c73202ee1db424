// Between the SDK and the thread that runs workflows: notices code that never returns, and spares the thread questions.
import { UnexpectedError } from '@temporalio/worker';
import type {
  Workflow,
  WorkflowCreateOptions,
  WorkflowCreator,
} from '@temporalio/worker/lib/workflow/interface';

type Activation = Parameters<Workflow['activate']>[0];
type Completion = Awaited<ReturnType<Workflow['activate']>>;
type LogCalls = Awaited<ReturnType<Workflow['getAndResetSinkCalls']>>;

/** How often it looks. Looks are counted, not time: a suspended process makes none, so its pause is nobody's fault. */
const LOOK_MS = 1000;
/** An activation that saw this many looks is in an endless loop; honest ones take milliseconds. */
const MAX_LOOKS = 10;

/** A call that the thread has not answered yet. */
interface Pending {
  numLooks: number;
  readonly fail: (error: Error) => void;
}

/** State: watching → (a call is not answered for MAX_LOOKS looks) stuck, for good: every call fails, and the worker ends. */
export class WorkflowWatch implements WorkflowCreator {
  readonly #thread: WorkflowCreator;
  readonly #pending = new Set<Pending>();
  readonly #timer: NodeJS.Timeout;
  #isStuck = false;

  /** @param thread owned from now on; destroyed by destroy() */
  constructor(thread: WorkflowCreator) {
    this.#thread = thread;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
    this.#timer.unref();
  }

  async createWorkflow(options: WorkflowCreateOptions): Promise<Workflow> {
    const workflow = await this.#answered(this.#thread.createWorkflow(options));
    let hasMoreToSay = false;
    return {
      activate: async (activation: Activation): Promise<Completion> => {
        const completion = await this.#answered(workflow.activate(activation));
        hasMoreToSay = !isMidTask(completion);
        return completion;
      },
      // The SDK asks after each activation, which is one more turn of the thread. Within a workflow task the answer waits.
      getAndResetSinkCalls: async (): Promise<LogCalls> =>
        hasMoreToSay ? this.#answered(workflow.getAndResetSinkCalls()) : [],
      dispose: () => this.#answered(workflow.dispose()),
    };
  }

  async destroy(): Promise<void> {
    clearInterval(this.#timer);
    // A stuck thread would never say that it ended; it goes with the process.
    if (!this.#isStuck) await this.#thread.destroy();
  }

  /** The thread's answer, or a failure once the thread is stuck. */
  #answered<Answer>(answer: Promise<Answer>): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const pending: Pending = { numLooks: 0, fail: reject };
      this.#pending.add(pending);
      answer.finally(() => this.#pending.delete(pending)).then(resolve, reject);
    });
  }

  #look(): void {
    for (const pending of this.#pending) {
      pending.numLooks += 1;
      if (pending.numLooks >= MAX_LOOKS) this.#isStuck = true;
    }
    if (!this.#isStuck) return;
    const stuck = [...this.#pending];
    this.#pending.clear();
    // This class of error makes the SDK give the worker up.
    for (const { fail } of stuck) fail(new UnexpectedError('workflow code does not return'));
  }
}

/** Whether nothing left the worker with this completion: the same workflow task goes on with a local activity. */
function isMidTask({ successful }: Completion): boolean {
  const commands = successful?.commands ?? [];
  return commands.length > 0 && commands.every((command) => command.scheduleLocalActivity != null);
}
