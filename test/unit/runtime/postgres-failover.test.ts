import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ClusterRecord } from '../../../runtime/cluster-record.ts';
import { chooseSuccessor } from '../../../runtime/postgres-failover.ts';
import type { PostgresNode } from '../../../runtime/embedded-replica.ts';

type Fenced = Parameters<typeof chooseSuccessor>[0][number];

function fenced(name: string, receivedLsn: number): Fenced {
  return {
    node: { name } as PostgresNode,
    view: {
      systemId: '7',
      isStandby: true,
      isStreaming: false,
      position: { timeline: 1, lsn: 0 },
      receivedLsn,
    },
  };
}

describe('chooseSuccessor', () => {
  const standbys = [fenced('two', 20), fenced('three', 20), fenced('four', 10)];

  it('takes the furthest', () => {
    expect(chooseSuccessor(standbys, null)?.name).toBe('two');
    expect(chooseSuccessor([], null)).toBeNull();
  });

  it('takes the wanted one only when it lacks nothing that another has', () => {
    expect(chooseSuccessor(standbys, 'three')?.name).toBe('three');
    expect(chooseSuccessor(standbys, 'four')?.name).toBe('two');
  });
});

describe('ClusterRecord', () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'record-'))));
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('says of a new home that its first node is the primary, and has all alone', () => {
    const record = new ClusterRecord(folder, 'postgres');
    expect([record.exists, record.primary, record.isSynchronous]).toEqual([
      false,
      'postgres',
      false,
    ]);
  });

  it('is on disk before it is believed, and is found by the next start', () => {
    const record = new ClusterRecord(folder, 'postgres');
    record.write({ primary: 'postgres-2', synchronous: true });
    const next = new ClusterRecord(folder, 'postgres');
    expect([next.exists, next.primary, next.isSynchronous]).toEqual([true, 'postgres-2', true]);
    expect(readFileSync(join(folder, 'postgres-primary.json'), 'utf8')).toContain('postgres-2');
  });
});
