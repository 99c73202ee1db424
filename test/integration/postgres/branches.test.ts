// The statements that change a conversation's tree, against the model of them, and under two tabs at the same moment.
import fc from 'fast-check';
import type { TurnId } from '../../../contracts/ids.ts';
import { createPool } from '../../../postgres/pool.ts';
import { BranchModel, shuffles, steps, violations } from '../../helpers/branch-model.ts';
import type { Planned, Step } from '../../helpers/branch-model.ts';
import { BranchStore } from '../../helpers/branch-store.ts';
import { createTestDatabase } from '../../helpers/database.ts';
import { newOwner } from '../../../bench/store/owner.ts';
import type { Owner } from '../../../bench/store/owner.ts';

/** Sequences of each property; a few hundred are the long form. */
const NUM_SEQUENCES = Number(process.env['COLLOQUY_STORE_SEQUENCES'] ?? 25);

let database: Awaited<ReturnType<typeof createTestDatabase>>;
let db: ReturnType<typeof createPool>;
let owner: Owner;

beforeAll(async () => {
  database = await createTestDatabase();
  db = createPool({ url: database.url, poolSize: 8 }, () => undefined);
  owner = await newOwner(db);
}, 60_000);
afterAll(async () => {
  await db.end();
  await database.drop();
});

/** Takes a step on both; what the store answers must be what the model says. */
async function take(store: BranchStore, model: BranchModel, step: Step, plans: (Planned | null)[]) {
  if (step.do === 'plan') {
    plans[step.tab] = model.plan(step);
  } else if (step.do === 'accept') {
    const planned = plans[step.tab] ?? null;
    plans[step.tab] = null;
    if (planned !== null) expect(await store.accept(planned)).toBe(model.accept(planned));
  } else if (step.do === 'delete') {
    await store.delete();
    model.delete();
  } else if (step.do === 'move') {
    const turnId = model.turnAt(step.pick);
    if (turnId !== undefined) expect((await store.move(turnId)).kind).toBe(model.move(turnId));
  } else {
    const turnId = model.requestAt(step.pick);
    if (turnId === undefined) return;
    const numSamples = model.requests.get(turnId)?.numSamples ?? 1;
    if (step.do === 'withdraw') {
      expect(await store.withdraw(turnId)).toBe(model.withdraw(turnId));
      return;
    }
    const before = model.version;
    if (step.do === 'open') {
      const opened = await store.open(turnId);
      model.open(turnId);
      expect(opened?.stored?.version ?? before).toBe(model.version);
    } else {
      const isFirst = model.requests.get(turnId)?.isEnded === false;
      const stored = await store.end(turnId, numSamples);
      model.end(turnId);
      if (!isFirst) expect(stored?.version ?? null).toBeNull();
    }
  }
}

it(`stores what the model says, step by step, over ${NUM_SEQUENCES} sequences`, async () => {
  await fc.assert(
    fc.asyncProperty(steps, fc.nat(), async (sequence, seed) => {
      const model = new BranchModel();
      const store = await BranchStore.create(db, owner);
      const plans: (Planned | null)[] = [null, null];
      for (const step of sequence) await take(store, model, step, plans);
      const state = await store.state();
      if (state === null) {
        expect(model.isDeleted).toBe(true);
        return;
      }
      const { turns, activeTurnId, version } = state;
      const modelled = [...model.turns.values()].sort((one, other) =>
        one.turnId < other.turnId ? -1 : 1,
      );
      expect({ turns, activeTurnId, version }).toEqual({
        turns: modelled,
        activeTurnId: model.activeTurnId,
        version: model.version,
      });
      expect(violations(turns, activeTurnId, shuffles(turns, seed))).toEqual([]);
    }),
    { numRuns: NUM_SEQUENCES },
  );
}, 600_000);

it(`keeps one tree when two tabs do it at the same moment, over ${NUM_SEQUENCES} sequences`, async () => {
  let numTurns = 0;
  await fc.assert(
    fc.asyncProperty(fc.tuple(steps, steps), fc.nat(), async (tabs, seed) => {
      const store = await BranchStore.create(db, owner);
      await Promise.all(tabs.map((sequence) => runTab(store, sequence)));
      const state = await store.state();
      if (state === null) return;
      numTurns += state.turns.length;
      const { turns, activeTurnId } = state;
      expect(violations(turns, activeTurnId, shuffles(turns, seed))).toEqual([]);
    }),
    { numRuns: NUM_SEQUENCES },
  );
  expect(numTurns).toBeGreaterThan(0);
}, 600_000);

/** Plans from what the store says now, as a gateway does, and keeps the turns that it made to open and end them. */
async function runTab(store: BranchStore, sequence: readonly Step[]): Promise<void> {
  const made: Planned[] = [];
  const isOpen = new Set<TurnId>();
  let planned: Planned | null = null;
  for (const step of sequence) {
    if (step.do === 'delete') {
      await store.delete();
    } else if (step.do === 'plan') {
      const seen = await store.state();
      const model = new BranchModel();
      for (const turn of seen?.turns ?? []) model.turns.set(turn.turnId, turn);
      model.activeTurnId = seen?.activeTurnId ?? null;
      planned = model.plan(step);
    } else if (step.do === 'accept') {
      if (planned !== null && (await store.accept(planned)) === 'accepted') made.push(planned);
      planned = null;
    } else if (step.do === 'move') {
      const turns = (await store.state())?.turns ?? [];
      const turn = turns[step.pick % Math.max(1, turns.length)];
      if (turn !== undefined) await store.move(turn.turnId);
    } else {
      const request = made[step.pick % Math.max(1, made.length)];
      if (request === undefined) continue;
      const { turnId } = request;
      if (step.do === 'withdraw') {
        if (!isOpen.has(turnId)) await store.withdraw(turnId);
      } else if (step.do === 'open') {
        isOpen.add(turnId);
        await store.open(turnId);
      } else await store.end(turnId, request.numSamples);
    }
  }
}
