// The report of a run is one page that needs nothing else and shows what happened.
import { reportPage } from '../../../../bench/chaos/report-page.ts';
import { summarise } from '../../../../bench/chaos/summary.ts';
import type { FinalState, Operation } from '../../../../bench/chaos/history.ts';

const post = (
  value: number,
  outcome: 'accepted' | 'unknown' | 'refused',
  begin: number,
): Operation => ({
  ...{ op: 'post', client: 'client-1', conversation: 'c', value, key: `k${value}`, begin },
  ...{ end: begin + 40, outcome, status: outcome === 'accepted' ? 200 : 503 },
  ...(outcome === 'accepted' ? { turnId: `t${value}` } : {}),
});

const HISTORY: readonly Operation[] = [
  post(1, 'accepted', 0),
  post(1, 'accepted', 10),
  post(2, 'unknown', 100),
  { op: 'fault', action: 'kill', target: 'gateway-1', begin: 90, end: 90 },
  { op: 'fault', action: 'freeze', target: 'redis', begin: 200, end: 900 },
  { op: 'fault', action: 'kill', target: 'gateway-2', begin: 300, end: 300, skipped: 'not there' },
];
const FINAL: FinalState = {
  ...{ at: 1000, conversations: [], ledger: [], logs: [], openRequests: [], openWorkflows: [] },
  ...{ keysWithoutTtl: [], usedBlocks: {}, leases: [], dispatches: {} },
};

describe('a report', () => {
  const summary = summarise(HISTORY, FINAL);

  it('counts attempts, turns and the faults that were carried out', () => {
    expect(summary).toMatchObject({
      operations: 3,
      posts: { accepted: 2, refused: 0, unknown: 1 },
      turns: 1,
      faults: { freeze: 1, kill: 1 },
      faultsOf: { gateway: 1, redis: 1 },
      faultsSkipped: 1,
      openMs: { p50: 40, max: 40 },
    });
  });

  it('is one page without anything from elsewhere, with each fault and anomaly on its timeline', () => {
    const anomaly = { kind: 'lost', detail: 'value <5>', conversation: 'c', at: 500 };
    const page = reportPage({
      ...{ title: 'A storm', command: 'npm run chaos -- --seed 1', durationMs: 1000 },
      ...{ history: HISTORY, summary, anomalies: [anomaly], allowed: [] },
    });
    expect(page).not.toMatch(/<script|<link|src=|href=|url\(|https?:/);
    for (const shown of ['kill gateway-1 at 0.1 s', 'freeze redis at 0.2 s', 'lost at 0.5 s'])
      expect(page).toContain(shown);
    expect(page).toContain('value &#60;5&#62;');
    expect(page).toContain('1 anomalies');
  });
});
