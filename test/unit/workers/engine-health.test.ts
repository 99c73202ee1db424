import { StepEngine } from '../../../inference/engine.ts';
import { EngineHealth, WATCH_INTERVAL_MS } from '../../../workers/engine-health.ts';
import { sequenceRequest } from '../../helpers/engine-runs.ts';
import { FakeExecutor } from '../../helpers/fake-executor.ts';

const silent = { onTokens: () => undefined, onFinish: () => undefined };

/** A manual engine under a clock of the test's, looked at every WATCH_INTERVAL_MS of it. */
function setUp(probeStepMs = 100) {
  let time = 0;
  const stalls: number[] = [];
  const executor = new FakeExecutor({ numBlocks: 64, isManual: true });
  const engine = new StepEngine(executor, {
    maxNumBatchedTokens: 8,
    maxNumSeqs: 4,
    contextLength: 1000,
  });
  const health = new EngineHealth(
    () => engine.stats(),
    { stallMs: 1500, exitMs: 10_000, onStalled: (stalledMs) => stalls.push(stalledMs) },
    () => time,
  );
  const pass = (ms: number): void => {
    for (let left = ms; left > 0; left -= WATCH_INTERVAL_MS) {
      time += WATCH_INTERVAL_MS;
      health.look();
    }
  };
  /** One sequence of one token, so that there is a first one. */
  const prove = async (): Promise<void> => {
    engine.submit(sequenceRequest([1], { maxTokens: 1 }), silent);
    await Promise.resolve();
    executor.releaseStep();
    health.start(probeStepMs);
    health.stop();
  };
  const jump = (ms: number): void => {
    time += ms;
    health.look();
  };
  return { engine, executor, health, stalls, pass, prove, jump };
}

describe('EngineHealth', () => {
  it('is red until there was a real token', async () => {
    const { health, pass, prove } = setUp();
    pass(1000);
    expect(health.isAlive).toBe(false);
    await prove();
    expect(health.isAlive).toBe(true);
  });

  it('stays green while there is nothing to do, and counts a stall from when work came', async () => {
    const { engine, health, pass, prove } = setUp();
    await prove();
    pass(1_000_000);
    expect(health.isAlive).toBe(true);
    engine.submit(sequenceRequest([1]), silent);
    pass(1250);
    expect(health.isAlive).toBe(true);
  });

  it('is red within two seconds of a step that does not return', async () => {
    const { engine, health, pass, prove } = setUp();
    await prove();
    engine.submit(sequenceRequest([1]), silent);
    await Promise.resolve();
    pass(1250);
    expect(health.isAlive).toBe(true);
    pass(500);
    expect(health.isAlive).toBe(false);
  });

  it('is green again after a token, and not after a step within a prompt', async () => {
    const { engine, executor, health, pass, prove } = setUp();
    await prove();
    engine.submit(sequenceRequest(Array.from({ length: 12 }, () => 1)), silent);
    await Promise.resolve();
    pass(2000);
    executor.releaseStep();
    pass(250);
    expect(engine.stats().numSteps).toBe(2);
    expect(health.isAlive).toBe(false);
    // The clock of tokens has milliseconds: this one must come in another than the first.
    jest.spyOn(Date, 'now').mockReturnValueOnce(Date.now() + 1000);
    executor.releaseStep();
    pass(250);
    expect(health.isAlive).toBe(true);
    jest.restoreAllMocks();
  });

  it('is green while steps that take less than the bound follow each other', async () => {
    const { engine, executor, health, pass, prove } = setUp();
    await prove();
    engine.submit(sequenceRequest([1], { maxTokens: 30 }), silent);
    await Promise.resolve();
    for (let step = 0; step < 20; step += 1) {
      pass(1250);
      expect(health.isAlive).toBe(true);
      executor.releaseStep();
    }
  });

  it('gives a machine on which a full step takes long four of them', async () => {
    const { engine, health, pass, prove } = setUp(2000);
    await prove();
    expect(health.stallMs).toBe(8000);
    engine.submit(sequenceRequest([1]), silent);
    await Promise.resolve();
    pass(7750);
    expect(health.isAlive).toBe(true);
    pass(250);
    expect(health.isAlive).toBe(false);
  });

  it('tells once of a stall of ten seconds', async () => {
    const { engine, stalls, pass, prove } = setUp();
    await prove();
    engine.submit(sequenceRequest([1]), silent);
    await Promise.resolve();
    pass(9750);
    expect(stalls).toEqual([]);
    pass(20_000);
    expect(stalls).toEqual([10_000]);
  });

  it('blames no engine for the time in which nobody looked', async () => {
    const { engine, health, stalls, prove, jump } = setUp();
    await prove();
    engine.submit(sequenceRequest([1]), silent);
    await Promise.resolve();
    jump(3_600_000);
    expect(health.isAlive).toBe(true);
    expect(stalls).toEqual([]);
  });
});
