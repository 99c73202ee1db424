// The embedded PostgreSQL and its standbys as one service: names, folders and ports of the nodes.
import { join } from 'node:path';
import { ClusterRecord } from './cluster-record.ts';
import { NodeFolders, postgresNode } from './embedded-replica.ts';
import { PostgresCluster } from './postgres-cluster.ts';
import type { EmbeddedPostgres } from './embedded-postgres.ts';
import type { PostgresNode } from './embedded-replica.ts';
import type { ServiceContext } from './embedded-service.ts';
import type { HomeFolder } from './home-folder.ts';
import type { ProcessSet } from './process-set.ts';

/** Name of the node that is the primary of a new home. */
const FIRST = 'postgres';

export interface ClusterEvents {
  readonly tell: (text: string) => void;
  /** Another node is the primary now. */
  readonly onPrimary: (node: PostgresNode) => void;
}

/** The home has had standbys: which of its folders is the primary's is then written in its record. */
export function hasReplicas(home: HomeFolder): boolean {
  return new ClusterRecord(home.postgres, FIRST).exists;
}

/**
 * Starts the primary of the last run, whichever node that was, and `numReplicas` others; with fewer than before, some folders
 * stay as they are. Resolves when all answer and what is acknowledged is on a standby.
 * @param first the embedded server of a home without standbys
 */
export async function startReplicatedPostgres(
  first: EmbeddedPostgres,
  context: ServiceContext,
  processes: ProcessSet,
  numReplicas: number,
  events: ClusterEvents,
): Promise<PostgresCluster> {
  const { installation, data, port } = first;
  const record = new ClusterRecord(context.home.postgres, FIRST);
  const others = Array.from({ length: numReplicas }, (_, index) => `${FIRST}-${index + 2}`);
  const names = [FIRST, ...others];
  if (!names.includes(record.primary)) names.splice(numReplicas, 1, record.primary);
  const nodes: PostgresNode[] = [];
  for (const name of names) {
    const own =
      name === FIRST
        ? { data, port }
        : {
            data: join(installation.folder, name.replace(FIRST, 'data')),
            port: await context.ports.portFor(name),
          };
    nodes.push(postgresNode(context, installation, { name, ...own }));
  }
  const cluster = new PostgresCluster({
    nodes,
    folders: new NodeFolders(installation, context),
    record,
    processes,
    prepare: async () => {
      const primary = nodes.find(({ name }) => name === record.primary);
      if (primary !== undefined) await first.createDatabase(primary.adminUrl);
    },
    ...events,
  });
  await cluster.start();
  return cluster;
}
