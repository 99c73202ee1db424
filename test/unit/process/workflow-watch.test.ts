// The watch over the workflow thread, on a thread of the test's own.
import { UnexpectedError } from '@temporalio/worker';
import type {
  Workflow,
  WorkflowCreateOptions,
  WorkflowCreator,
} from '@temporalio/worker/lib/workflow/interface';
import { WorkflowWatch } from '../../../process/workflow-watch.ts';

type Completion = Awaited<ReturnType<Workflow['activate']>>;
const OPTIONS = {} as WorkflowCreateOptions;
const LOCAL_STEP: Completion = { successful: { commands: [{ scheduleLocalActivity: {} }] } };
const QUEUED_STEP: Completion = { successful: { commands: [{ scheduleActivity: {} }] } };

class FakeThread implements WorkflowCreator {
  isDestroyed = false;
  numAsked = 0;
  answer: Promise<Completion> = Promise.resolve(LOCAL_STEP);

  async createWorkflow(): Promise<Workflow> {
    return {
      activate: () => this.answer,
      getAndResetSinkCalls: async () => {
        this.numAsked += 1;
        return [];
      },
      dispose: async () => undefined,
    };
  }

  async destroy(): Promise<void> {
    this.isDestroyed = true;
  }
}

describe('WorkflowWatch', () => {
  beforeEach(() => jest.useFakeTimers());
  afterEach(() => jest.useRealTimers());

  it('hands an activation through and its completion back', async () => {
    const thread = new FakeThread();
    const watch = new WorkflowWatch(thread);
    const workflow = await watch.createWorkflow(OPTIONS);
    expect(await workflow.activate({ runId: 'r' })).toBe(LOCAL_STEP);
    await watch.destroy();
    expect(thread.isDestroyed).toBe(true);
  });

  it('asks for log lines at the end of a workflow task, not between its local steps', async () => {
    const thread = new FakeThread();
    const watch = new WorkflowWatch(thread);
    const workflow = await watch.createWorkflow(OPTIONS);
    await workflow.activate({});
    await workflow.getAndResetSinkCalls();
    expect(thread.numAsked).toBe(0);
    thread.answer = Promise.resolve(QUEUED_STEP);
    await workflow.activate({});
    await workflow.getAndResetSinkCalls();
    expect(thread.numAsked).toBe(1);
    thread.answer = Promise.resolve({ failed: {} });
    await workflow.activate({});
    await workflow.getAndResetSinkCalls();
    expect(thread.numAsked).toBe(2);
    await watch.destroy();
  });

  it('fails every waiting call once one has gone unanswered for ten looks, and leaves the thread to the process', async () => {
    const thread = new FakeThread();
    const watch = new WorkflowWatch(thread);
    const [stuck, other] = [
      await watch.createWorkflow(OPTIONS),
      await watch.createWorkflow(OPTIONS),
    ];
    thread.answer = new Promise(() => undefined);
    const failed = [stuck.activate({}).catch((error: unknown) => error)];
    jest.advanceTimersByTime(9_000);
    failed.push(other.activate({}).catch((error: unknown) => error));
    const settled = jest.fn();
    void failed[0]?.then(settled);
    await Promise.resolve();
    expect(settled).not.toHaveBeenCalled();
    jest.advanceTimersByTime(1_000);
    for (const each of await Promise.all(failed)) expect(each).toBeInstanceOf(UnexpectedError);
    await watch.destroy();
    expect(thread.isDestroyed).toBe(false);
  });

  it('blames nobody for many calls that are each answered in time', async () => {
    const thread = new FakeThread();
    const watch = new WorkflowWatch(thread);
    const workflow = await watch.createWorkflow(OPTIONS);
    for (let call = 0; call < 5; call += 1) {
      let answer: (completion: Completion) => void = () => undefined;
      thread.answer = new Promise((resolve) => (answer = resolve));
      const completion = workflow.activate({});
      jest.advanceTimersByTime(9_000);
      answer(LOCAL_STEP);
      expect(await completion).toBe(LOCAL_STEP);
    }
    await watch.destroy();
  });
});
