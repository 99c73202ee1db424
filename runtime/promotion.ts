// An operator's order to promote a standby: a file in run/, which the supervisor finds and answers with another. Whoever can
// write there owns the home.
import { existsSync, rmSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { z } from 'zod';
import { homeFolder, readJson, writeFileAtomically } from './home-folder.ts';
import { lockOwner } from './home-lock.ts';
import { runFiles } from './run-files.ts';
import type { RunFiles } from './run-files.ts';
import type { PostgresCluster } from './postgres-cluster.ts';

const TIMEOUT_MS = 90_000;
const POLL_MS = 250;

const orderSchema = z.object({ node: z.string().nullable() });
const answerSchema = z.object({ primary: z.string().nullable(), fault: z.string().nullable() });

/**
 * Asks the supervisor of a home for another primary.
 * @param node its name, or null for the standby that has most
 * @returns the name of the primary @throws Error in words for the operator
 */
export async function orderPromotion(home: string, node: string | null): Promise<string> {
  const files = runFiles(homeFolder(home).run);
  if (lockOwner(files.lock) === null) throw new Error(`Colloquy does not run in ${home}.`);
  rmSync(files.promoted, { force: true });
  writeFileAtomically(files.promote, JSON.stringify({ node }));
  const deadline = Date.now() + TIMEOUT_MS;
  while (Date.now() < deadline) {
    await pause(POLL_MS);
    const answer = answerSchema.safeParse(readJson(files.promoted));
    if (!answer.success) continue;
    const { primary, fault } = answer.data;
    if (primary === null) throw new Error(fault ?? 'No standby was promoted.');
    return primary;
  }
  rmSync(files.promote, { force: true });
  throw new Error('The supervisor has not answered in time; its log says more.');
}

/** Carries out orders until the returned function is called. @param cluster null: there is nobody to promote */
export function serveOrders(files: RunFiles, cluster: PostgresCluster | null): () => void {
  let isBusy = false;
  const look = async (): Promise<void> => {
    if (isBusy || !existsSync(files.promote)) return;
    isBusy = true;
    const order = orderSchema.safeParse(readJson(files.promote));
    rmSync(files.promote, { force: true });
    const answer = await carryOut(cluster, order.data?.node ?? null).then(
      (primary) => ({ primary, fault: null }),
      (error: unknown) => ({ primary: null, fault: (error as Error).message }),
    );
    writeFileAtomically(files.promoted, JSON.stringify(answer));
    isBusy = false;
  };
  const timer = setInterval(() => void look(), POLL_MS);
  return () => clearInterval(timer);
}

async function carryOut(cluster: PostgresCluster | null, node: string | null): Promise<string> {
  if (cluster === null || cluster.nodes.length < 2)
    throw new Error('There is no standby to promote: start with --replicas N.');
  return cluster.promote(node);
}
