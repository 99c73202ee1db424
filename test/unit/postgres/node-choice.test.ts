import fc from 'fast-check';
import { mayRead, primaryAmong } from '../../../postgres/node-choice.ts';
import type { KnownStore } from '../../../postgres/node-choice.ts';
import type { TimedView } from '../../../postgres/node-watch.ts';
import { ProgressLog } from '../../../postgres/progress-log.ts';

const SYSTEM = '7';

function view(change: Partial<TimedView> & { timeline?: number; lsn?: number } = {}): TimedView {
  const { timeline = 1, lsn = 100, ...rest } = change;
  return {
    systemId: SYSTEM,
    isStandby: true,
    isStreaming: true,
    position: { timeline, lsn },
    receivedLsn: lsn,
    askedAt: 0,
    tookMs: 1,
    ...rest,
  };
}

describe('primaryAmong', () => {
  const primary = (timeline: number): TimedView => view({ isStandby: false, timeline });

  it('takes the primary of the highest timeline: one that was replaced and came back is none', () => {
    expect(primaryAmong([primary(1), primary(2), view()], SYSTEM, 1)).toBe(1);
    expect(primaryAmong([primary(1), null, view()], SYSTEM, 2)).toBe(-1);
  });

  it('takes no standby, nobody who does not answer, and no node of another database', () => {
    expect(primaryAmong([view(), null, { ...primary(3), systemId: '8' }], SYSTEM, 1)).toBe(-1);
  });
});

describe('mayRead', () => {
  const known: KnownStore = {
    systemId: SYSTEM,
    timeline: 1,
    hasPrimary: true,
    furthestLsn: 100,
    asOf: (lsn) => lsn * 10,
  };
  const need = { mark: { ageMs: 60_000, position: null }, at: 1000, maxLagMs: 50 };

  it('takes a replica as of now, and none that is further behind than is tolerated', () => {
    expect(mayRead(view({ lsn: 96 }), known, need)).toBe(true);
    expect(mayRead(view({ lsn: 94 }), known, need)).toBe(false);
    expect(mayRead(view(), { ...known, asOf: () => null }, need)).toBe(false);
  });

  it('takes none that has not applied the newest write, or follows another timeline than that', () => {
    const marked = (timeline: number, lsn: number) => ({
      ...need,
      mark: { ageMs: 60_000, position: { timeline, lsn } },
    });
    expect(mayRead(view({ lsn: 97 }), known, marked(1, 97))).toBe(true);
    expect(mayRead(view({ lsn: 97 }), known, marked(1, 98))).toBe(false);
    expect(mayRead(view({ lsn: 97 }), known, marked(2, 96))).toBe(false);
  });

  it('takes a mark that is younger than a replica is behind for no mark at all', () => {
    const young = { ...need, mark: { ageMs: 20, position: null } };
    expect(mayRead(view({ lsn: 97 }), known, young)).toBe(false);
    expect(mayRead(view({ lsn: 98 }), known, young)).toBe(true);
    expect(mayRead(view(), known, { ...need, mark: null })).toBe(false);
  });

  it('takes no node that is not streaming, follows an old timeline, belongs elsewhere or is the primary', () => {
    expect(mayRead(view({ isStreaming: false }), known, need)).toBe(false);
    expect(mayRead(view(), { ...known, timeline: 2 }, need)).toBe(false);
    expect(mayRead(view({ systemId: '8' }), known, need)).toBe(false);
    expect(mayRead(view({ isStandby: false }), known, need)).toBe(false);
  });

  it('takes, without a primary, only one that has applied all that any had received when asked after the mark', () => {
    const headless = { ...known, hasPrimary: false, asOf: () => null };
    const asked = { isStreaming: false, askedAt: 1000 };
    const without = { ...need, mark: null };
    expect(mayRead(view(asked), headless, without)).toBe(true);
    expect(mayRead(view({ ...asked, lsn: 99 }), headless, without)).toBe(false);
    expect(mayRead(view({ ...asked, askedAt: 999 }), headless, without)).toBe(false);
    const marked = { ...need, mark: { ageMs: 9, position: { timeline: 1, lsn: 101 } } };
    expect(mayRead(view(asked), headless, marked)).toBe(false);
  });

  // A log that grows by one a write, replicas that follow as they please, marks that are lost at any time, looks that are old.
  it('never takes a replica that lacks an acknowledged write, whatever is lost or late', () => {
    const step = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({ kind: fc.constant('write'), owner: fc.nat(2), knows: fc.boolean() }),
      },
      {
        weight: 4,
        arbitrary: fc.record({
          kind: fc.constant('apply'),
          node: fc.nat(1),
          by: fc.integer({ min: 1, max: 12 }),
        }),
      },
      { weight: 4, arbitrary: fc.record({ kind: fc.constant('look'), node: fc.nat(2) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('forget'), owner: fc.nat(2) }) },
      {
        weight: 4,
        arbitrary: fc.record({
          kind: fc.constant('read'),
          owner: fc.nat(2),
          lag: fc.integer({ min: 1, max: 30 }),
        }),
      },
    );
    let numServed = 0;
    fc.assert(
      fc.property(fc.array(step, { minLength: 40, maxLength: 120, size: 'max' }), (steps) => {
        let now = 0;
        let lsn = 0;
        const log = new ProgressLog(1000 * 30);
        const applied = [0, 0];
        const views: (TimedView | null)[] = [null, null];
        const newest = [0, 0, 0];
        const marks: ({ born: number; lsn: number | null } | null)[] = [null, null, null];
        for (const each of steps) {
          now += 30;
          if (each.kind === 'write' && 'knows' in each) {
            lsn += 1;
            newest[each.owner] = lsn;
            const mark = marks[each.owner] ?? { born: now, lsn: null };
            marks[each.owner] = each.knows ? { ...mark, lsn } : { ...mark, born: now };
          } else if (each.kind === 'apply' && 'by' in each) {
            applied[each.node] = Math.min(lsn, (applied[each.node] ?? 0) + each.by);
          } else if (each.kind === 'look' && 'node' in each) {
            if (each.node === 2) log.add(view({ isStandby: false, lsn, askedAt: now }));
            else views[each.node] = view({ lsn: applied[each.node] ?? 0, askedAt: now });
          } else if (each.kind === 'forget' && 'owner' in each) {
            marks[each.owner] = null;
          } else if ('lag' in each) {
            const mark = (marks[each.owner] ??= { born: now, lsn: null });
            const position = mark.lsn === null ? null : { timeline: 1, lsn: mark.lsn };
            const asked = {
              mark: { ageMs: now - mark.born, position },
              at: now,
              maxLagMs: each.lag * 30,
            };
            for (const [node, seen] of views.entries()) {
              const state = { ...known, asOf: (place: number) => log.asOf(place) };
              if (seen === null || !mayRead(seen, state, asked)) continue;
              numServed += 1;
              if ((applied[node] ?? 0) < (newest[each.owner] ?? 0)) return false;
            }
          }
        }
        return true;
      }),
      { numRuns: 2000 },
    );
    expect(numServed).toBeGreaterThan(100);
  });
});
