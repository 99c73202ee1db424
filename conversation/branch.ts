// The path from a turn up to the root of its conversation's tree. Pure.

/** The links of a turn that a walk needs. */
export interface TurnLinks {
  readonly turnId: string;
  readonly parentTurnId: string | null;
}

/**
 * The branch that ends in `leafId`, oldest first. A parent that is not among `turns` (beyond the page that was read)
 * ends the walk there; links that form a circle cannot loop it.
 */
export function branchTo<Turn extends TurnLinks>(turns: readonly Turn[], leafId: string): Turn[] {
  const byId = new Map(turns.map((turn) => [turn.turnId, turn]));
  const branch: Turn[] = [];
  for (
    let next = byId.get(leafId);
    next !== undefined;
    next = next.parentTurnId === null ? undefined : byId.get(next.parentTurnId)
  ) {
    byId.delete(next.turnId);
    branch.push(next);
  }
  return branch.reverse();
}
