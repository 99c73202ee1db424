// The set-up of docs/deploy/valkey-cluster.md: three primaries with a replica each, and the primary that holds a running
// turn's log killed in mid-turn.
import { newConversationId, newTurnId } from '../../contracts/ids.ts';
import type { TurnId, UserId } from '../../contracts/ids.ts';
import { turnLogKey } from '../../contracts/redis-keys.ts';
import { projectPath } from '../../process/paths.ts';
import { connectRedis } from '../../redis/connection.ts';
import { hashSlot } from '../../redis/hash-slot.ts';
import { RedisTurnLogWriter } from '../../redis/turn-log-writer.ts';
import { startDeployment } from '../helpers/deployment.ts';
import { clusterNodes, isClusterWhole, pidOfNode } from '../helpers/valkey-nodes.ts';
import { waitFor } from '../helpers/wait-for.ts';
import { KillTrials } from './kill-trials.ts';
import type { RunningDeployment } from '../helpers/deployment.ts';
import type { ClusterNode } from '../helpers/valkey-nodes.ts';
import type { Victim } from './kill-trials.ts';

const TRIALS = Number(process.env['COLLOQUY_TRIALS'] ?? 10);
const FROZEN_MS = 10_000;

let cluster: RunningDeployment;
let trials: KillTrials;

beforeAll(async () => {
  cluster = await startDeployment('valkey');
  trials = await KillTrials.start(cluster.env);
}, 600_000);
afterAll(async () => {
  trials.report('Primary of the turn’s slot killed, then frozen');
  await trials.system.stop();
  await cluster.stop();
}, 120_000);

async function ownerOf(turnId: string): Promise<ClusterNode> {
  const slot = hashSlot(turnLogKey(turnId as TurnId));
  const owner = (await clusterNodes(cluster)).find(({ slots }) =>
    slots.some(([from, to]) => from <= slot && slot <= to),
  );
  if (owner === undefined) throw new Error(`Nobody serves slot ${slot}.`);
  return owner;
}

async function signalOwner(turnId: string, signal: NodeJS.Signals): Promise<number> {
  const pid = pidOfNode(cluster, (await ownerOf(turnId)).port);
  process.kill(pid, signal);
  return pid;
}

const primaryOfTheTurn: Victim = {
  kill: async (turnId) => void (await signalOwner(turnId, 'SIGKILL')),
  recover: async () => {
    await waitFor('the cluster is whole', () => isClusterWhole(cluster), 60_000);
  },
};

/** Silent for longer than cluster-node-timeout, then back: it finds another primary in its place. */
function frozenPrimaryOfTheTurn(): Victim {
  let awake: Promise<unknown> = Promise.resolve();
  return {
    kill: async (turnId) => {
      const pid = await signalOwner(turnId, 'SIGSTOP');
      awake = new Promise<void>((resolve) => {
        setTimeout(() => {
          process.kill(pid, 'SIGCONT');
          resolve();
        }, FROZEN_MS);
      });
    },
    recover: async () => {
      await awake;
      await primaryOfTheTurn.recover();
    },
  };
}

describe('a Valkey cluster', () => {
  it.each(Array.from({ length: TRIALS }, (_, trial) => trial))(
    'keeps the reader’s text and stores the turn once when the primary of its log is killed, trial %#',
    async (trial) => trials.run(trial, primaryOfTheTurn),
    180_000,
  );

  it.each(Array.from({ length: Math.ceil(TRIALS / 2) }, (_, trial) => trial))(
    'keeps the reader’s text and stores the turn once when that primary is frozen for ten seconds, trial %#',
    async (trial) => trials.run(trial, frozenPrimaryOfTheTurn()),
    180_000,
  );

  it('counts an entry as written only once a replica has it, and goes on when none answers', async () => {
    const settings = {
      url: cluster.env['REDIS_URL'] ?? '',
      scriptsFolder: projectPath('redis', 'lua'),
      onError: () => undefined,
    };
    // Two: what waits on a connection holds up everything behind it.
    const [redis, observer] = [connectRedis(settings), connectRedis(settings)];
    const writer = new RedisTurnLogWriter(redis);
    const [turnId, conversationId] = [newTurnId(), newConversationId()];
    const open = { turn_id: turnId, user_turn_id: 'u', conversation_id: conversationId };
    const append = (n: number): Promise<string> =>
      writer.append(turnId, 1001, [{ n, type: 'token', data: { text: 'a', ids: [n] } }]);
    let isAcknowledged = false;
    let replica = 0;
    try {
      const facts = { model: 'm', served_model: 's', pool: 'mini' };
      await writer.create({ ...open, ...facts }, { userId: 'u' as UserId, conversationId });
      const owner = await ownerOf(turnId);
      replica = pidOfNode(
        cluster,
        (await clusterNodes(cluster)).find(({ primaryId }) => primaryId === owner.id)?.port ?? 0,
      );
      expect(await observer.xlen(turnLogKey(turnId))).toBe(1);
      process.kill(replica, 'SIGSTOP');
      const appending = append(2).then((answer) => {
        isAcknowledged = true;
        return answer;
      });
      // It is in the log, so nothing but the replica is waited for.
      await waitFor(
        'the primary has the entry',
        async () => (await observer.xlen(turnLogKey(turnId))) === 2,
      );
      expect(isAcknowledged).toBe(false);
      process.kill(replica, 'SIGCONT');
      expect(await appending).toBe('ok');
      process.kill(replica, 'SIGSTOP');
      expect(await append(3)).toBe('ok');
    } finally {
      if (replica !== 0) process.kill(replica, 'SIGCONT');
      redis.disconnect();
      observer.disconnect();
    }
  });

  it('has billed every turn once', () => trials.expectBilledOnce());
});
