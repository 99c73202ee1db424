// What `npm run shards` does: shows the shard map, moves slots. Talks to the databases; needs no process of ours.
import { readShards } from '../postgres/shard-report.ts';
import type { ShardReport } from '../postgres/shard-report.ts';
import { cancelMove, moveSlot } from '../postgres/shard-move.ts';
import { evenMoves, NUM_SLOTS } from '../postgres/shard-slots.ts';
import { homeFolder } from './home-folder.ts';
import { readEndpoints, runFiles } from './run-files.ts';

/**
 * A statement that finds its slot gone asks again, so nothing depends on this; a replica's readers are spared a second
 * look.
 */
const GRACE_MS = 1000;

/**
 * Databases by shard: of the environment, else of the system that runs in the home.
 * @throws Error when there is neither
 */
export function shardUrls(
  env: Readonly<Record<string, string | undefined>>,
  home: string,
): string[] {
  const given = [env['DATABASE_URL'], ...(env['DATABASE_SHARD_URLS'] ?? '').split(',')];
  const urls = given.filter((url) => url !== undefined && url !== '') as string[];
  if (urls.length > 0) return urls;
  const endpoints = readEndpoints(runFiles(homeFolder(home).run).endpoints);
  if (endpoints === null)
    throw new Error(`Colloquy does not run in ${home}, and DATABASE_URL is not set.`);
  return [endpoints.postgres, ...(endpoints.postgres_shards ?? [])];
}

/** The map as lines for an operator. */
export async function showShards(urls: readonly string[]): Promise<string[]> {
  const { shards, moves, databases } = await readShards(urls);
  return [
    ...databases.map((each, shard) => lineOf(each, shard, shards)),
    ...moves.map(
      ({ slot, source, target, isSwitched }) =>
        `slot ${slot}  on its way from ${source} to ${target}${isSwitched ? ', served there; copies are left to delete' : ''}`,
    ),
  ];
}

/** @param say hears of each step */
export async function moveShardSlot(
  urls: readonly string[],
  slot: string | undefined,
  target: string | undefined,
  say: (line: string) => void,
): Promise<void> {
  const number = numberBelow(NUM_SLOTS, slot, 'SLOT');
  const shard = numberBelow(urls.length, target, 'SHARD');
  const report = await moveSlot(urls, number, shard, {
    graceMs: GRACE_MS,
    onProgress: (line) => say(`slot ${number}: ${line}`),
  });
  say(
    report === null
      ? `slot ${number} is on shard ${shard} already`
      : `slot ${number}: ${report.numRows} rows, ${report.numChanges} changes meanwhile, writers waited at most ${Math.ceil(report.heldMs)} ms`,
  );
}

/** Moves as few slots as make the shards even, one after the other. */
export async function rebalanceShards(
  urls: readonly string[],
  say: (line: string) => void,
): Promise<void> {
  const { shards } = await readShards(urls);
  for (const { slot, target } of evenMoves(shards, urls.length))
    await moveShardSlot(urls, String(slot), String(target), say);
}

export async function cancelShardMove(
  urls: readonly string[],
  slot: string | undefined,
): Promise<void> {
  await cancelMove(urls, numberBelow(NUM_SLOTS, slot, 'SLOT'));
}

function lineOf(
  { numOwned, numGuarded, retainedBytes }: ShardReport['databases'][number],
  shard: number,
  shards: readonly number[],
): string {
  const numMapped = shards.filter((each) => each === shard).length;
  const isTrue = numOwned === numMapped || numGuarded === 0;
  return [
    `shard ${shard}`,
    `${numMapped} slots`,
    ...(isTrue ? [] : [`it serves ${numOwned}`]),
    ...(retainedBytes === null ? [] : [`${retainedBytes} bytes of the directory not copied yet`]),
  ].join('  ');
}

function numberBelow(end: number, text: string | undefined, name: string): number {
  if (text !== undefined && /^\d+$/.test(text) && Number(text) < end) return Number(text);
  throw new Error(`${name} is a whole number from 0 to ${end - 1}; received "${text ?? ''}".`);
}
