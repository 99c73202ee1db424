// What two tabs may do to one conversation, and a model of the store's rules for it: which turns are accepted, what is stored,
// where the pointer goes. Tests hold it against the real statements, and its states against the rules of a tree.
import fc from 'fast-check';
import { newTurnId } from '../../contracts/ids.ts';
import type { TurnId } from '../../contracts/ids.ts';
import { sampleTurnIds } from '../../contracts/samples.ts';
import { branchTo } from '../../conversation/branch.ts';
import { buildTree, lastReplyBelow } from '../../conversation/tree.ts';

export interface ModelTurn {
  readonly turnId: TurnId;
  readonly parentTurnId: TurnId | null;
  readonly role: 'user' | 'assistant';
  readonly sampleIndex: number | null;
}

/** A turn as a tab has planned it from what it saw. */
export interface Planned {
  readonly turnId: TurnId;
  readonly userTurnId: TurnId;
  readonly parentTurnId: TurnId | null;
  readonly replacesTurnId: TurnId | null;
  readonly isRegeneration: boolean;
  readonly isContinuation: boolean;
  readonly numSamples: number;
}

interface ModelRequest extends Planned {
  hasContent: boolean;
  isEnded: boolean;
}

/** `pick` chooses among what there is. */
export type Step =
  | {
      readonly do: 'plan';
      readonly tab: 0 | 1;
      readonly kind: 'continue' | 'branch' | 'edit' | 'regenerate';
      readonly pick: number;
      readonly numSamples: number;
    }
  | { readonly do: 'accept'; readonly tab: 0 | 1 }
  | { readonly do: 'open' | 'end' | 'withdraw' | 'move'; readonly pick: number }
  | { readonly do: 'delete' };

const tab = fc.constantFrom<0 | 1>(0, 1);
const pick = fc.nat(1000);
const plan: fc.Arbitrary<Step> = fc.record({
  do: fc.constant('plan' as const),
  tab,
  kind: fc.constantFrom(
    'continue' as const,
    'branch' as const,
    'edit' as const,
    'regenerate' as const,
  ),
  pick,
  numSamples: fc.constantFrom(1, 1, 1, 3),
});
const on = (what: 'open' | 'end' | 'withdraw' | 'move'): fc.Arbitrary<Step> =>
  fc.record({ do: fc.constant(what), pick });

/** Mostly turns that go well, so that trees grow. */
export const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { arbitrary: plan, weight: 30 },
    { arbitrary: fc.record({ do: fc.constant('accept' as const), tab }), weight: 30 },
    { arbitrary: on('open'), weight: 25 },
    { arbitrary: on('end'), weight: 30 },
    { arbitrary: on('withdraw'), weight: 5 },
    { arbitrary: on('move'), weight: 10 },
    { arbitrary: fc.constant<Step>({ do: 'delete' }), weight: 1 },
  ),
  { minLength: 10, maxLength: 60, size: 'max' },
);

export class BranchModel {
  readonly turns = new Map<TurnId, ModelTurn>();
  readonly requests = new Map<TurnId, ModelRequest>();
  activeTurnId: TurnId | null = null;
  version = 0;
  isDeleted = false;

  /** As planTurn does it; null when it is refused. */
  plan(step: Step & { do: 'plan' }): Planned | null {
    const running = [...this.requests.values()].filter(({ isEnded }) => !isEnded);
    const role = step.kind === 'edit' ? 'user' : 'assistant';
    const named = step.kind === 'continue' ? undefined : this.#turn(step.pick, role);
    if (this.isDeleted || (step.kind !== 'continue' && named === undefined)) return null;
    const isRegeneration = step.kind === 'regenerate';
    const parentTurnId =
      named === undefined
        ? this.activeTurnId
        : step.kind === 'branch'
          ? named.turnId
          : named.parentTurnId;
    const isOtherBranch =
      step.kind === 'branch' && running.every((each) => each.parentTurnId !== parentTurnId);
    if (running.length > 0 && !isOtherBranch) return null;
    return {
      userTurnId: isRegeneration && parentTurnId !== null ? parentTurnId : newTurnId(),
      turnId: newTurnId(),
      parentTurnId,
      replacesTurnId: step.kind === 'branch' ? null : (named?.turnId ?? null),
      isRegeneration,
      isContinuation: step.kind === 'continue',
      numSamples: step.numSamples,
    };
  }

  accept(planned: Planned): 'accepted' | 'conflict' | 'no-conversation' {
    if (this.isDeleted) return 'no-conversation';
    const isMoved = planned.isContinuation && this.activeTurnId !== planned.parentTurnId;
    const isTaken = [...this.requests.values()].some(
      (each) => !each.isEnded && each.parentTurnId === planned.parentTurnId,
    );
    if (isMoved || isTaken) return 'conflict';
    const hasContent = !planned.isRegeneration;
    this.requests.set(planned.turnId, { ...planned, hasContent, isEnded: false });
    return 'accepted';
  }

  open(turnId: TurnId): void {
    const request = this.requests.get(turnId);
    if (request === undefined || !request.hasContent) return;
    this.#storeMessage(request);
    this.version += 1;
  }

  end(turnId: TurnId): void {
    const request = this.requests.get(turnId);
    if (request === undefined) return;
    if (request.hasContent) this.#storeMessage(request);
    for (const [index, each] of sampleTurnIds(turnId, request.numSamples).entries())
      this.turns.set(each, {
        turnId: each,
        parentTurnId: request.userTurnId,
        role: 'assistant',
        sampleIndex: request.numSamples > 1 ? index : null,
      });
    if (request.isEnded) return;
    request.isEnded = true;
    this.activeTurnId = turnId;
    this.version += 1;
  }

  withdraw(turnId: TurnId): boolean {
    const request = this.requests.get(turnId);
    if (request === undefined || request.isEnded) return false;
    return (request.hasContent || request.isRegeneration) && this.requests.delete(turnId);
  }

  move(turnId: TurnId): 'moved' | 'no-conversation' | 'no-end' | 'running' {
    if (this.isDeleted) return 'no-conversation';
    const end = lastReplyBelow([...this.turns.values()], turnId);
    if (end === null) return 'no-end';
    if ([...this.requests.values()].some(({ isEnded }) => !isEnded)) return 'running';
    this.activeTurnId = end.turnId;
    this.version += 1;
    return 'moved';
  }

  delete(): void {
    this.isDeleted = true;
    this.turns.clear();
    this.requests.clear();
    this.activeTurnId = null;
  }

  /** The request, or the turn, that a number picks: three times of four one that runs, else any. */
  requestAt(at: number): TurnId | undefined {
    const all = [...this.requests.values()];
    const running = all.filter(({ isEnded }) => !isEnded);
    const some = at % 4 === 0 || running.length === 0 ? all : running;
    return some[at % Math.max(1, some.length)]?.turnId;
  }

  turnAt(at: number): TurnId | undefined {
    return this.#turn(at, null)?.turnId;
  }

  #turn(at: number, role: 'user' | 'assistant' | null): ModelTurn | undefined {
    const found = [...this.turns.values()].filter((each) => role === null || each.role === role);
    return found[at % Math.max(1, found.length)];
  }

  #storeMessage(request: ModelRequest): void {
    request.hasContent = false;
    const { userTurnId: turnId, parentTurnId } = request;
    this.turns.set(turnId, { turnId, parentTurnId, role: 'user', sampleIndex: null });
  }
}

/** What is wrong with the tree of a conversation; empty when all is well. */
export function violations(
  turns: readonly ModelTurn[],
  activeTurnId: TurnId | null,
  shuffled: readonly (readonly ModelTurn[])[],
): string[] {
  const found: string[] = [];
  const tree = buildTree(turns);
  const shape = shapeOf(turns);
  if (shuffled.some((each) => shapeOf(each) !== shape)) found.push('depends on the order of turns');
  if (tree.roots.some((each) => each.parentTurnId !== null)) found.push('a turn hangs in the air');
  const first = tree.roots[0];
  if (first !== undefined && tree.siblingsOf(first.turnId).length !== tree.roots.length)
    found.push('roots are not one set of alternatives');
  const reached = new Set<string>();
  for (const left = [...tree.roots]; ;) {
    const turn = left.pop();
    if (turn === undefined) break;
    if (reached.has(turn.turnId)) found.push('a turn is reached twice');
    reached.add(turn.turnId);
    left.push(...tree.childrenOf(turn.turnId));
  }
  if (reached.size !== turns.length) found.push('a stored turn cannot be reached');
  for (const turn of turns)
    if (tree.siblingsOf(turn.turnId).filter((each) => each === turn).length !== 1)
      found.push('a turn is not one of its alternatives');
  if (activeTurnId === null) return found;
  const end = lastReplyBelow(turns, activeTurnId);
  if (end === null) found.push('the pointer is at no stored reply');
  else if (end.turnId !== activeTurnId) found.push('the pointer is not at the end of a branch');
  const branch = branchTo(turns, activeTurnId);
  if (branch.some(({ role }, index) => role !== (index % 2 === 0 ? 'user' : 'assistant')))
    found.push('message and reply do not alternate');
  return found;
}

function shapeOf(turns: readonly ModelTurn[]): string {
  const { roots, siblingsOf, childrenOf } = buildTree(turns);
  const each = [...turns]
    .map(({ turnId }) => [
      turnId,
      siblingsOf(turnId).map((sibling) => sibling.turnId),
      childrenOf(turnId).map((child) => child.turnId),
    ])
    .sort(([one = ''], [other = '']) => (one < other ? -1 : 1));
  return JSON.stringify([roots.map(({ turnId }) => turnId), each]);
}

/** The same turns in other orders. @param seed of the orders */
export function shuffles<Turn>(turns: readonly Turn[], seed: number): Turn[][] {
  let state = seed;
  const random = (below: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const shuffled = [...turns];
  for (let index = shuffled.length - 1; index > 0; index -= 1) {
    const other = random(index + 1);
    const [one, two] = [shuffled[index], shuffled[other]];
    if (one !== undefined && two !== undefined) [shuffled[index], shuffled[other]] = [two, one];
  }
  return [[...turns].reverse(), shuffled];
}
