// `npm run shards -- show | move SLOT SHARD | cancel SLOT | rebalance`: the shard map of the system in COLLOQUY_HOME, or of
// DATABASE_URL and DATABASE_SHARD_URLS. See docs/sharding.md.
import { createRequire } from 'node:module';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { homeFolder, loadDotEnv, ROOT } from './environment.mjs';

const USAGE = `npm run shards -- show | move SLOT SHARD | cancel SLOT | rebalance

  show             slots of each shard, and moves under way
  move SLOT SHARD  moves a slot while it is in use, or goes on with a move that was ended in the middle
  cancel SLOT      takes back a move whose slot has not left yet
  rebalance        moves as few slots as make the shards even
`;

loadDotEnv();
const [command, slot, shard] = process.argv.slice(2);
const compiled = join(ROOT, 'dist', 'runtime', 'shards.js');
const say = (line) => process.stdout.write(`${line}\n`);
if (!existsSync(compiled)) {
  fail('Nothing was built in this checkout ("npm run build" builds).', 1);
} else {
  const shards = createRequire(import.meta.url)(compiled);
  const commands = {
    show: async (urls) => (await shards.showShards(urls)).forEach(say),
    move: (urls) => shards.moveShardSlot(urls, slot, shard, say),
    cancel: (urls) => shards.cancelShardMove(urls, slot),
    rebalance: (urls) => shards.rebalanceShards(urls, say),
  };
  const run = Object.hasOwn(commands, command ?? '') ? commands[command] : null;
  if (run === null) fail(USAGE, 2);
  else {
    try {
      await run(shards.shardUrls(process.env, homeFolder()));
    } catch (error) {
      fail(error.message, 1);
    }
  }
}

function fail(text, code) {
  process.stderr.write(`${text}\n`);
  process.exitCode = code;
}
