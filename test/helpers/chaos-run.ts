// One chaos run: clients and nemesis at the same time, then everything healed and quiet, then the checker.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Verdict } from '../../bench/chaos/anomaly.ts';
import { check } from '../../bench/chaos/checker.ts';
import type { FinalState, Operation } from '../../bench/chaos/history.ts';
import { reportPage } from '../../bench/chaos/report-page.ts';
import { drawSchedule } from '../../bench/chaos/schedule.ts';
import type { Step } from '../../bench/chaos/rules.ts';
import { summarise } from '../../bench/chaos/summary.ts';
import type { Summary } from '../../bench/chaos/summary.ts';
import { ChaosClient } from './chaos-client.ts';
import { observeState } from './chaos-final-state.ts';
import type { StateObserver } from './chaos-final-state.ts';
import { rage } from './chaos-nemesis.ts';
import { readReply } from './chaos-reader.ts';
import { replay } from './chaos-replay.ts';
import { startChaosSystem } from './chaos-system.ts';
import type { DeploymentKind } from './chaos-system.ts';
import { World } from './chaos-world.ts';
import type { Tier } from './chaos-world.ts';

export interface ChaosOptions {
  readonly deployment: DeploymentKind;
  readonly seed: number;
  readonly durationMs: number;
  /** Instead of the one that the seed draws. */
  readonly schedule?: readonly Step[];
  /** Where everything of the run goes. */
  readonly folder: string;
}

export interface ChaosResult {
  readonly schedule: readonly Step[];
  readonly history: readonly Operation[];
  readonly final: FinalState;
  readonly verdict: Verdict;
  readonly summary: Summary;
}

/** Each client with its tier and where it appends: a place of its own, and one that it shares. */
const CLIENTS: readonly { tier: Tier; places: readonly string[] }[] = [
  { tier: 'enterprise', places: ['own-1', 'shared-1'] },
  { tier: 'enterprise', places: ['own-2', 'shared-1'] },
  { tier: 'enterprise', places: ['own-3', 'shared-2'] },
  { tier: 'enterprise', places: ['own-4', 'shared-2'] },
  { tier: 'enterprise', places: ['own-5', 'shared-1', 'shared-2'] },
  { tier: 'free', places: ['own-6'] },
];
const FOCUS = {
  embedded: {},
  temporal: { focus: 'temporal' },
  valkey: { focus: 'redis' },
} as const;
/** Replies that are read once more at the end, spread over the run. */
const READ_AGAIN = 300;

/** Starts a system, storms it, and judges what is left. The folder gets schedule.json, history.jsonl, final.json and the report. */
export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  const { deployment, seed, durationMs, folder } = options;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const write = (name: string, value: unknown): void =>
    writeFileSync(join(folder, name), `${JSON.stringify(value, null, 1)}\n`);
  const scene = await startChaosSystem(deployment);
  let observer: StateObserver | null = null;
  try {
    const { targets } = scene;
    const drawn = { seed, durationMs, targets, ...FOCUS[deployment] };
    const schedule = options.schedule ?? drawSchedule(drawn);
    write('schedule.json', schedule);
    observer = await observeState(scene);
    const world = new World(join(folder, 'history.jsonl'), (tier) => scene.callers(tier));
    const isOver = (): boolean => world.now() >= durationMs;
    const clients = CLIENTS.map(
      ({ tier, places }, index) =>
        new ChaosClient(world, `client-${index + 1}`, {
          seed: seed * 1000 + index,
          tier,
          places,
        }),
    );
    await Promise.all([
      rage(
        scene,
        schedule,
        () => world.now(),
        (fault) => world.record(fault),
      ),
      ...clients.map((each) => each.run(isOver)),
    ]);
    await scene.whenWell();
    await observer.whenQuiet();
    await readEverything(world);
    const ids = world.conversations.map(({ id }) => id);
    const { history } = world;
    let final = await observer.read(world.startedAt, ids);
    await replay(world);
    let verdict = check(history, final);
    const suspects = verdict.anomalies.flatMap(({ conversation, turnId }) =>
      conversation === undefined || turnId === undefined ? [] : [{ conversation, turnId }],
    );
    if (suspects.length > 0) {
      final = { ...final, dispatches: await observer.dispatchesOf(suspects).catch(() => ({})) };
      verdict = check(history, final);
    }
    write('final.json', final);
    const summary = summarise(history, final);
    const isGood = verdict.anomalies.length === 0;
    write('report.json', { deployment, seed, durationMs, isGood, summary, verdict });
    const page = reportPage({
      ...{ title: titleOf(options), command: commandOf(options), durationMs },
      ...{ history, summary, ...verdict },
    });
    writeFileSync(join(folder, 'report.html'), page);
    if (!isGood) scene.keepLogs(join(folder, 'logs'));
    return { schedule, history, final, verdict, summary };
  } catch (error) {
    scene.keepLogs(join(folder, 'logs'));
    throw error;
  } finally {
    await observer?.close();
    await scene.stop();
  }
}

function titleOf({ deployment, seed, durationMs }: ChaosOptions): string {
  return `Chaos: ${deployment}, seed ${seed}, ${Math.round(durationMs / 6000) / 10} minutes`;
}

/** What repeats a run: its seed draws the schedule and the clients' choices, its chance does not come again. */
export function commandOf(
  { deployment, seed, durationMs, schedule }: ChaosOptions,
  path?: string,
): string {
  const minutes = Math.ceil(durationMs / 6000) / 10;
  const file = path ?? (schedule === undefined ? undefined : 'schedule.json');
  return `npm run chaos -- --deployment ${deployment} --seed ${seed} --minutes ${minutes}${file === undefined ? '' : ` --schedule ${file}`}`;
}

/** With all at peace: every list at every gateway, and many replies from their first entry. */
async function readEverything(world: World): Promise<void> {
  for (const { id, tier } of world.conversations) {
    const auditor = new ChaosClient(world, 'auditor', { seed: 1, tier, places: [] });
    for (const _ of world.callers(tier)) await auditor.readList(id);
  }
  const step = Math.max(1, Math.ceil(world.turns.length / READ_AGAIN));
  for (const [index, { conversation, turnId, tier }] of world.turns.entries()) {
    if (index % step !== 0) continue;
    const reading = { client: 'auditor', conversation, turnId, tier, after: 0 };
    await readReply(world, { ...reading, decide: () => 'stay' }, (callers) => {
      const caller = callers[index % callers.length];
      if (caller === undefined) throw new Error('There is no gateway.');
      return { ...caller, idleMs: 5000 };
    });
  }
}
