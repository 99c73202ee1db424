// The whole system with standbys: the primary is killed while turns are taken and conversations are read. COLLOQUY_TRIALS=10 for
// the bar.
import { Client } from 'pg';
import { readEndpoints, runFiles } from '../../../runtime/run-files.ts';
import { systemStatus } from '../../../runtime/status.ts';
import { answerOf, everyProcessReady, kill, processNamed } from '../../helpers/system-processes.ts';
import { runScript, startSystem } from '../../helpers/system.ts';
import type { TestSystem } from '../../helpers/system.ts';
import { call, newConversation } from '../../helpers/turn-client.ts';
import type { Caller } from '../../helpers/turn-client.ts';
import { followTurn } from '../../helpers/turn-follower.ts';
import { reportTrials, spread, timeFor, TRIALS } from '../../helpers/trials.ts';
import { waitFor } from '../../helpers/wait-for.ts';

const NUM_CLIENTS = 3;

let system: TestSystem;
let names: readonly string[];
beforeAll(async () => {
  system = await startSystem({ replicas: 2 });
  names = system.processes().map(({ name }) => name);
}, 300_000);
afterAll(() => system.stop(), 60_000);

const caller = (): Caller => {
  const { gateway, tokens } = system.endpoints();
  return { gateway, token: tokens.enterprise };
};

const primaryName = (): string | undefined => {
  const { postgres, postgres_nodes: nodes } = system.endpoints();
  return nodes?.find(({ url }) => url === postgres)?.name;
};

async function rolesOf(): Promise<(string | undefined)[]> {
  const { processes } = await systemStatus(system.home.root);
  return processes.flatMap(({ entry, role }) => (entry.kind === 'postgres' ? [role] : []));
}

/** One primary, all others behind it with everything it has. */
async function nodesAreWell(): Promise<void> {
  await waitFor(
    'every node is well',
    async () => {
      const roles = await rolesOf();
      const numStreaming = roles.filter((role) => role?.startsWith('replica, streaming')).length;
      return roles.length === 3 && numStreaming === 2;
    },
    60_000,
  );
  await everyProcessReady(system, names);
}

interface Acknowledged {
  readonly conversationId: string;
  readonly turnId: string;
  readonly text: string;
}

/** Takes turns and reads pages until it is stopped. */
class Users {
  readonly acknowledged: Acknowledged[] = [];
  readonly readFaults: string[] = [];
  numReads = 0;
  /** When turns were acknowledged, that is done. */
  readonly times: number[] = [];
  #isRunning = true;
  readonly #running: Promise<unknown>;

  constructor() {
    const each = Array.from({ length: NUM_CLIENTS }, () => [this.#take(), this.#read()]);
    this.#running = Promise.all(each.flat());
  }

  async stop(): Promise<void> {
    this.#isRunning = false;
    await this.#running;
  }

  async #take(): Promise<void> {
    while (this.#isRunning) {
      const conversationId = await newConversation(caller()).catch(() => null);
      if (conversationId === null) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        continue;
      }
      const turn = followTurn(() => [caller()], conversationId, { content: 'Hi.', max_tokens: 4 });
      await turn.done;
      this.times.push(performance.now());
      this.acknowledged.push({ conversationId, turnId: turn.turnId, text: turn.text });
    }
  }

  /** A conversation whose turn is done shows it, always. */
  async #read(): Promise<void> {
    while (this.#isRunning) {
      const known = this.acknowledged.slice(-20);
      const one = known[Math.floor(Math.random() * known.length)];
      if (one !== undefined) {
        const { status, json } = await call(
          caller(),
          'GET',
          `/v1/conversations/${one.conversationId}`,
        );
        this.numReads += 1;
        const turns = (json['turns'] ?? []) as { turn_id: string; content: string }[];
        const shown = turns.find(({ turn_id: id }) => id === one.turnId);
        if (status !== 200 || shown?.content !== one.text)
          this.readFaults.push(`${status} ${JSON.stringify(shown?.content)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** How often each acknowledged turn is stored and billed, in the database that is the primary now. */
async function countsOf(turns: readonly Acknowledged[]): Promise<string[]> {
  const client = new Client({
    connectionString: readEndpoints(runFiles(system.home.run).endpoints)?.postgres,
  });
  await client.connect();
  const { rows } = await client.query<{ counts: string }>(
    `select coalesce((select string_agg(content, '|') from turns t where t.turn_id = k.turn_id), '-') || ' '
       || (select count(*) from ledger l where l.turn_id = k.turn_id) as counts
     from unnest($1::uuid[]) with ordinality as k(turn_id, n) order by n`,
    [turns.map(({ turnId }) => turnId)],
  );
  await client.end();
  return rows.map(({ counts }) => counts);
}

it(
  'loses no acknowledged turn and answers every read when the primary is killed',
  async () => {
    const gaps: number[] = [];
    let [numTurns, numReads] = [0, 0];
    for (let trial = 0; trial < TRIALS; trial += 1) {
      await nodesAreWell();
      const users = new Users();
      await waitFor('turns are taken', () => users.acknowledged.length >= 10, 60_000);
      const before = primaryName() ?? '';
      kill(processNamed(system, before));
      const killedAt = performance.now();
      await waitFor('another node is named', () => primaryName() !== before, 30_000);
      const numDone = users.acknowledged.length;
      await waitFor(
        'turns are taken again',
        () => users.acknowledged.length >= numDone + 10,
        60_000,
      );
      await users.stop();
      expect(users.readFaults).toEqual([]);
      expect(await countsOf(users.acknowledged)).toEqual(
        users.acknowledged.map(({ text }) => `${text} 1`),
      );
      const last = Math.max(...users.times.filter((at) => at <= killedAt));
      const next = users.times.filter((at) => at > killedAt);
      const all = [last, ...next].sort((one, other) => one - other);
      gaps.push(Math.max(...all.slice(1).map((at, index) => at - (all[index] ?? at))));
      numTurns += users.acknowledged.length;
      numReads += users.numReads;
    }
    reportTrials('primary killed under turns', {
      ...{ trials: TRIALS, numTurns, numReads, turnGapMs: spread(gaps) },
    });
    expect(Math.max(...gaps)).toBeLessThan(15_000);
  },
  timeFor(TRIALS, 120_000),
);

it('promotes a standby by one command, and says in its status who is what', async () => {
  await nodesAreWell();
  const before = primaryName();
  const wanted = names.find((name) => name.startsWith('postgres') && name !== before) ?? '';
  expect(await runScript(system, 'promote.mjs', wanted)).toBe(`${wanted} is the primary.\n`);
  expect(primaryName()).toBe(wanted);
  await nodesAreWell();
  expect((await rolesOf()).filter((role) => role?.startsWith('primary, timeline'))).toHaveLength(1);
  const { status } = await answerOf(`${caller().gateway}/readyz`);
  expect(status).toBe(200);
  // Who has just written is answered by the primary; the replicas have it a moment later.
  const metrics = await waitFor('a replica answers', async () => {
    await call(caller(), 'GET', '/v1/conversations');
    const answer = await answerOf(`${caller().gateway}/metrics`);
    return /colloquy_store_reads_total\{node="replica"\} [1-9]/.test(answer.body) && answer;
  });
  expect(metrics.body).toMatch(/colloquy_store_replica_lag_seconds\{node="127\.0\.0\.1:\d+"\} \d/);
}, 120_000);
