import { StepEngine } from '../../../inference/engine.ts';
import { probeEngine } from '../../../workers/engine-probe.ts';
import { FakeExecutor } from '../../helpers/fake-executor.ts';

function setUp(options: { readonly isManual?: boolean; readonly contextLength?: number } = {}) {
  const contextLength = options.contextLength ?? 100;
  const executor = new FakeExecutor({ numBlocks: 64, ...options });
  const engine = new StepEngine(executor, {
    maxNumBatchedTokens: 32,
    maxNumSeqs: 4,
    contextLength,
  });
  return { executor, model: { engine, contextLength, encodePrompt: () => [5, 6, 7] } };
}

describe('probeEngine', () => {
  it('runs a full step and one that decodes, keeps nothing, and says how long the longer took', async () => {
    const { executor, model } = setUp();
    expect(await probeEngine(model, 32)).toBeGreaterThan(0);
    expect(executor.batches.map(({ tokenIds }) => tokenIds.length)).toEqual([32, 1]);
    expect(model.engine.stats().kvBlocks).toMatchObject({ used: 0, cached: 0 });
    expect(model.engine.stats().lastTokenAtMs).not.toBeNull();
  });

  it('fits into a context that is shorter than a step', async () => {
    const { executor, model } = setUp({ contextLength: 10 });
    await probeEngine(model, 32);
    expect(executor.batches[0]?.tokenIds).toHaveLength(8);
  });

  it('fails with the reason when the engine breaks', async () => {
    const { executor, model } = setUp();
    executor.nextOutcome = { error: new Error('broken') };
    await expect(probeEngine(model, 32)).rejects.toMatchObject({
      message: "the engine's first sequence ended with error",
      cause: new Error('broken'),
    });
  });

  it('fails when no token comes in time', async () => {
    const { model } = setUp({ isManual: true });
    await expect(probeEngine(model, 32, 20)).rejects.toThrow('no token within 20 ms');
  });
});
