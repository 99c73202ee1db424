// From abort() to free blocks, in each state that a sequence can be in: the engine alone, with a real model and, beside the
// aborted one, sequences that decode. Blocks are free when onFinish runs (contracts/engine.ts); checked after each.
import type { StepEngine } from '../../inference/engine.ts';
import { openEngine, promptOf } from '../engine/engine-run.ts';
import type { BenchOptions } from '../engine/options.ts';

export interface AbortSample {
  readonly ms: number;
  /** Steps that ended between the abort and the free blocks. */
  readonly numSteps: number;
  /** The mean step of the trial until then. */
  readonly stepMs: number;
}

interface Trial {
  readonly engine: StepEngine;
  readonly promptTokens: number;
  readonly maxTokens: number;
  /** Called at each token of the one that is aborted, and at each end of a step; true aborts it now. */
  readonly isNow: (numTokens: number, engine: StepEngine) => boolean;
  /** Aborted this much later than that, in shares of a step: a caller's moment is any. */
  readonly delay: number;
}

const NUM_BESIDE = 3;
const CROWD = { promptTokens: 32, maxTokens: 4000 } as const;

/** State → the trial that brings a sequence there. */
const STATES: Readonly<
  Record<
    string,
    { readonly kvTokens: number; readonly maxNumSeqs: number } & Omit<Trial, 'engine' | 'delay'>
  >
> = {
  'waiting in the engine': {
    ...{ kvTokens: 20_000, maxNumSeqs: NUM_BESIDE, promptTokens: 64, maxTokens: 50 },
    isNow: (_, engine) => engine.stats().waiting > 0,
  },
  'in its prompt': {
    ...{ kvTokens: 20_000, maxNumSeqs: 8, promptTokens: 3000, maxTokens: 50 },
    isNow: (_, engine) => engine.stats().running > NUM_BESIDE,
  },
  'in its reply': {
    ...{ kvTokens: 20_000, maxNumSeqs: 8, promptTokens: 64, maxTokens: 400 },
    isNow: (numTokens) => numTokens >= 20,
  },
  'with its last token': {
    ...{ kvTokens: 20_000, maxNumSeqs: 8, promptTokens: 64, maxTokens: 20 },
    isNow: (numTokens) => numTokens >= 19,
  },
  preempted: {
    ...{ kvTokens: 640, maxNumSeqs: 8, promptTokens: 64, maxTokens: 400 },
    isNow: (_, engine) => engine.stats().preempted > 0,
  },
};

export const ENGINE_STATES = Object.keys(STATES);

export async function abortsIn(
  state: string,
  options: BenchOptions,
  numTrials: number,
): Promise<AbortSample[]> {
  const setting = STATES[state];
  if (setting === undefined) throw new Error(`There is no state ${state}.`);
  let [numSteps, sumMs] = [0, 0];
  let onStep: () => void = () => undefined;
  const { engine } = openEngine(options, {
    maxNumBatchedTokens: 256,
    maxNumSeqs: setting.maxNumSeqs,
    // Of the shipped model: 30 layers of 3 heads of 64, keys and values, two bytes each.
    kvPoolBytes: setting.kvTokens * 23_040,
    onStep: ({ durationMs }) => {
      numSteps += 1;
      sumMs += durationMs;
      onStep();
    },
  });
  const samples: AbortSample[] = [];
  for (let trial = 0; trial < numTrials; trial += 1) {
    [numSteps, sumMs] = [0, 0];
    const beside = crowd(engine, trial, setting.kvTokens);
    await beside.begun;
    samples.push(
      await abortOnce({ engine, ...setting, delay: Math.random() }, trial, (wake) => {
        onStep = wake;
        return { steps: () => numSteps, meanMs: () => sumMs / Math.max(1, numSteps) };
      }),
    );
    await beside.stop();
    if (engine.stats().kvBlocks.used > 0) throw new Error('Blocks were left in use.');
  }
  await engine.close();
  return samples;
}

/** Sequences that decode until they are stopped; in a small pool they leave too little for one more. */
function crowd(
  engine: StepEngine,
  trial: number,
  kvTokens: number,
): { readonly begun: Promise<unknown>; stop(): Promise<unknown> } {
  const ids = Array.from({ length: NUM_BESIDE }, (_, index) => `beside-${trial}-${index}`);
  const maxTokens = Math.min(CROWD.maxTokens, Math.floor(kvTokens / 2));
  const all = ids.map((seqId, index) => {
    let hasBegun: () => void = () => undefined;
    const begun = new Promise<void>((resolve) => (hasBegun = resolve));
    const ended = new Promise<void>((resolve) => {
      submit(engine, seqId, promptOf(trial * 7 + index, CROWD.promptTokens), maxTokens, {
        onTokens: hasBegun,
        onFinish: () => resolve(),
      });
    });
    return { begun, ended };
  });
  return {
    begun: Promise.all(all.map(({ begun }) => begun)),
    stop: () => {
      for (const seqId of ids) engine.abort(seqId);
      return Promise.all(all.map(({ ended }) => ended));
    },
  };
}

function abortOnce(
  { engine, promptTokens, maxTokens, isNow, delay }: Trial,
  trial: number,
  watch: (wake: () => void) => { steps(): number; meanMs(): number },
): Promise<AbortSample> {
  const seqId = `aborted-${trial}`;
  return new Promise((resolve) => {
    let [numTokens, since, stepsBefore] = [0, 0, 0];
    let isAsked = false;
    const look = (): void => {
      if (isAsked || !isNow(numTokens, engine)) return;
      isAsked = true;
      setTimeout(() => {
        [since, stepsBefore] = [performance.now(), counter.steps()];
        engine.abort(seqId);
      }, delay * counter.meanMs());
    };
    const counter = watch(look);
    submit(engine, seqId, promptOf(trial * 7 + NUM_BESIDE, promptTokens), maxTokens, {
      onTokens: () => {
        numTokens += 1;
        look();
      },
      onFinish: () => {
        // One that ended by itself before it was aborted had nothing to wait for.
        const ms = since === 0 ? 0 : performance.now() - since;
        // The step under way counts itself only after its listeners.
        const numSteps = since === 0 || ms < 0.5 ? 0 : counter.steps() - stepsBefore + 1;
        setImmediate(() => resolve({ ms, numSteps, stepMs: counter.meanMs() }));
      },
    });
    look();
  });
}

function submit(
  engine: StepEngine,
  seqId: string,
  promptTokenIds: readonly number[],
  maxTokens: number,
  listener: { onTokens(): void; onFinish(): void },
): void {
  const sampling = { temperature: 0, topP: 1, topK: 0, seed: 0 };
  engine.submit(
    {
      ...{ seqId, promptTokenIds, maxTokens, sampling, cacheScope: null },
      ...{ outputTokenIds: [], stopTokenIds: [], priority: 0 },
    },
    listener,
  );
}
