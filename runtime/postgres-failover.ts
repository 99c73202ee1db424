// A change of the primary, step by step: nobody acknowledges for the old one any more, the furthest standby is recorded and
// promoted, the others follow it.
import { setTimeout as pause } from 'node:timers/promises';
import {
  checkpoint,
  followPrimary,
  hasNoReceiver,
  onNode,
  promote,
  requireStandby,
  viewOf,
} from '../postgres/replication-admin.ts';
import type { NodeView } from '../postgres/node-look.ts';
import type { ClusterRecord } from './cluster-record.ts';
import type { PostgresNode } from './embedded-replica.ts';

const FENCE_MS = 5000;
const POLL_MS = 20;

interface FencedStandby {
  readonly node: PostgresNode;
  readonly view: NodeView;
}

/**
 * Cuts each standby from the old primary and then asks how far it is: a commit that the old one, or what is left of it, might
 * still make is received by none and so acknowledged to nobody. Those that do not answer are left out.
 * @returns furthest first
 */
export async function fenceStandbys(standbys: readonly PostgresNode[]): Promise<FencedStandby[]> {
  const fenced = await Promise.all(
    standbys.map(async (node): Promise<FencedStandby | null> => {
      try {
        await onNode(node.adminUrl, async (client) => {
          await followPrimary(client, '');
          const deadline = Date.now() + FENCE_MS;
          while (!(await hasNoReceiver(client))) {
            if (Date.now() > deadline) throw new Error(`${node.name} goes on receiving`);
            await pause(POLL_MS);
          }
        });
        const view = await viewOf(node.adminUrl);
        return view?.isStandby === true ? { node, view } : null;
      } catch {
        return null;
      }
    }),
  );
  return fenced.filter((each) => each !== null).sort((one, other) => compare(other, one));
}

/** Lets fenced standbys receive from the primary again. Never throws: one that is away will ask for it by its own file. */
export async function unfence(
  standbys: readonly PostgresNode[],
  primary: PostgresNode,
): Promise<void> {
  await Promise.allSettled(
    standbys.map((node) =>
      onNode(node.adminUrl, (client) => followPrimary(client, primary.conninfo(node.name))),
    ),
  );
}

/** The one to promote: the wanted one if it has as much as any, else the furthest. */
export function chooseSuccessor(
  fenced: readonly FencedStandby[],
  wanted: string | null,
): PostgresNode | null {
  const [furthest] = fenced;
  if (furthest === undefined) return null;
  const asked = fenced.find(({ node }) => node.name === wanted);
  return asked !== undefined && compare(asked, furthest) === 0 ? asked.node : furthest.node;
}

/**
 * Records and promotes. From the record on the old primary can only start as a standby.
 * @param followers other standbys that answer; with one of them there, nothing is acknowledged before one has it
 */
export async function promoteNode(
  node: PostgresNode,
  followers: readonly PostgresNode[],
  record: ClusterRecord,
): Promise<void> {
  const isSynchronous = followers.length > 0;
  record.write({ primary: node.name, synchronous: isSynchronous });
  await onNode(node.adminUrl, async (client) => {
    await requireStandby(client, isSynchronous);
    await promote(client);
  });
  await unfence(followers, node);
  await onNode(node.adminUrl, checkpoint);
}

function compare(one: FencedStandby, other: FencedStandby): number {
  const byTimeline = one.view.position.timeline - other.view.position.timeline;
  return byTimeline !== 0 ? byTimeline : one.view.receivedLsn - other.view.receivedLsn;
}
