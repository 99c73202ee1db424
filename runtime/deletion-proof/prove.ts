// The proof of deletion on a running system: plants texts, deletes a conversation and then its user, and looks for the texts
// in every store (decision 0021). What it finds before the deletions shows that it can find.
import { randomBytes } from 'node:crypto';
import { Client, Connection } from '@temporalio/client';
import { conversationErasureId, userErasureId } from '../../contracts/erasure.ts';
import type { ErasureResult } from '../../contracts/erasure.ts';
import type { ConversationId } from '../../contracts/ids.ts';
import { makeProofUser } from '../../postgres/deletion-proof.ts';
import { scrubDatabase } from '../../postgres/scrub.ts';
import { createExecutions } from '../../process/executions.ts';
import { projectPath } from '../../process/paths.ts';
import { connectRedis } from '../../redis/connection.ts';
import { rewriteFiles } from '../../redis/forgetting.ts';
import { homeFolder } from '../home-folder.ts';
import { readEndpoints, readProcesses, runFiles } from '../run-files.ts';
import { plantConversation, plantFact, send } from './planting.ts';
import { searchStores } from './searched-stores.ts';
import type { Finding, Searched, Texts } from './searched-stores.ts';

export interface ProofStep {
  readonly step: 'planted' | 'conversation deleted' | 'user deleted';
  readonly findings: readonly Finding[];
}

export interface ProofOptions {
  /** Hears of each step when it is done. */
  readonly onStep?: (step: ProofStep) => void;
  /** Also wait until Temporal has deleted the executions, which it does within a minute or two; by default it is waited for. */
  readonly waitsForExecutions?: boolean;
}

/** A closed execution is deleted when the server's queues have moved on. */
const EXECUTIONS_GONE_MS = 180_000;
const POLL_MS = 250;

/**
 * @param homeRoot COLLOQUY_HOME of a running system
 * @returns all steps; the last two of a system that keeps its promise have no hits
 */
export async function proveDeletion(
  homeRoot: string,
  { onStep = () => undefined, waitsForExecutions = true }: ProofOptions = {},
): Promise<ProofStep[]> {
  const home = homeFolder(homeRoot);
  const files = runFiles(home.run);
  const endpoints = readEndpoints(files.endpoints);
  if (endpoints === null) throw new Error(`No system runs in ${home.root}.`);
  const connection = await Connection.connect({ address: endpoints.temporal });
  const redis = connectRedis({
    url: endpoints.redis,
    scriptsFolder: projectPath('redis', 'lua'),
    onError: () => undefined,
    answerMs: 30_000,
  });
  const target: Searched = {
    home,
    ownerUrl: endpoints.postgres,
    redis,
    temporal: new Client({ connection }),
    processes: readProcesses(files.processes),
  };
  const steps: ProofStep[] = [];
  const look = async (step: ProofStep['step'], texts: Texts): Promise<void> => {
    const made = { step, findings: await searchStores(target, texts) };
    steps.push(made);
    onStep(made);
  };
  try {
    const token = `cq_${newCanary()}`;
    const userId = await makeProofUser(endpoints.postgres, token);
    const user = { gateway: endpoints.gateway, userId, token };
    const [first, second, fact] = [newCanary(), newCanary(), newCanary()];
    const one = await plantConversation(user, first);
    const other = await plantConversation(user, second);
    await plantFact(user, fact);
    const words = [one.words, other.words].filter((each) => each !== '');
    await look('planted', { canaries: [first, second, fact], words });

    await send(user, 'DELETE', `/v1/conversations/${one.conversationId}`);
    await target.temporal.workflow
      .getHandle(conversationErasureId(one.conversationId as ConversationId))
      .result();
    if (waitsForExecutions) await executionsGone(target, one.conversationId);
    await scrub(target);
    const ownWords = words.filter((each) => each === one.words);
    await look('conversation deleted', { canaries: [first], words: ownWords });

    await send(user, 'DELETE', `/v1/users/${userId}`);
    const { left } = (await target.temporal.workflow
      .getHandle(userErasureId(userId))
      .result()) as ErasureResult;
    if (left.rows + left.keys > 0)
      throw new Error('The erasure itself says that something is left.');
    if (waitsForExecutions) await executionsGone(target, other.conversationId);
    await scrub(target);
    await look('user deleted', { canaries: [first, second, fact, token], words });
    return steps;
  } finally {
    redis.disconnect();
    await connection.close();
  }
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

/** 24 characters of which no file has eight in a row by chance. */
function newCanary(): string {
  return Array.from(randomBytes(24), (byte) => ALPHABET[byte % ALPHABET.length]).join('');
}

/** What the schedule does now and then, at once and to the end. */
async function scrub({ redis, ownerUrl }: Searched): Promise<void> {
  await rewriteFiles(redis, () => undefined);
  await scrubDatabase(ownerUrl, 'complete');
}

async function executionsGone({ temporal }: Searched, conversationId: string): Promise<void> {
  const executions = createExecutions(temporal);
  const deadline = Date.now() + EXECUTIONS_GONE_MS;
  while ((await executions.find(`turn/${conversationId}`, 1)).length > 0) {
    if (Date.now() > deadline)
      throw new Error(`Temporal still lists executions after ${EXECUTIONS_GONE_MS / 1000} s.`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
