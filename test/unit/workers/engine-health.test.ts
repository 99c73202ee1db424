import { createEngineHealth } from '../../../workers/engine-health.ts';

const IDLE = {
  waiting: 0,
  running: 0,
  preempted: 0,
  kvBlocks: { free: 1, used: 0, cached: 0 },
  prefixCache: { queriedTokens: 0, hitTokens: 0 },
  speculation: { proposedTokens: 0, acceptedTokens: 0 },
  numSteps: 5,
  numPreemptions: 0,
  numSwappedBlocks: 0,
  lastTokenAtMs: null,
};

describe('createEngineHealth', () => {
  it('is red when there is work and no step for half a minute, and green again after a step', () => {
    let [time, stats] = [0, { ...IDLE, running: 1 }];
    const isAlive = createEngineHealth({ stats: () => stats }, () => time);
    expect(isAlive()).toBe(true);
    time = 29_000;
    expect(isAlive()).toBe(true);
    time = 31_000;
    expect(isAlive()).toBe(false);
    stats = { ...stats, numSteps: 6 };
    expect(isAlive()).toBe(true);
  });

  it('stays green while there is nothing to do', () => {
    let time = 0;
    const isAlive = createEngineHealth({ stats: () => IDLE }, () => time);
    time = 10_000_000;
    expect(isAlive()).toBe(true);
  });
});
