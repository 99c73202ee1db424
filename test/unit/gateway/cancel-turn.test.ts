import type { ConversationId, TurnId } from '../../../contracts/ids.ts';
import { cancelRunning, cancelTurn } from '../../../gateway/cancel-turn.ts';
import type { CancelDeps } from '../../../gateway/cancel-turn.ts';

const [conversationId, turnId] = ['c' as ConversationId, 't' as TurnId];

/** Whether there is a running log and a running workflow, at each try. */
function depsOf(tries: readonly (readonly [boolean | Error, boolean | Error])[]) {
  let [numLog, numWorkflow] = [0, 0];
  const answer = async (value: boolean | Error | undefined): Promise<boolean> => {
    if (value instanceof Error) throw value;
    return value ?? false;
  };
  const deps = {
    turnLog: { cancel: () => answer(tries[numLog++]?.[0]) },
    dispatch: { cancel: () => answer(tries[numWorkflow++]?.[1]) },
  } as unknown as CancelDeps;
  return { deps, numTries: () => numLog };
}

const away = new Error('away');

describe('cancelTurn', () => {
  it.each([
    [true, false, 'running'],
    [true, away, 'running'],
    [away, true, 'running'],
    [false, true, 'signalled'],
    [false, away, 'signalled'],
    [false, false, 'missed'],
  ] as const)('with a log %s and a workflow %s says %s', async (log, workflow, outcome) => {
    expect(await cancelTurn(depsOf([[log, workflow]]).deps, conversationId, turnId)).toBe(outcome);
  });

  it('fails when neither path works', async () => {
    const { deps } = depsOf([[away, away]]);
    await expect(cancelTurn(deps, conversationId, turnId)).rejects.toBe(away);
  });
});

describe('cancelRunning', () => {
  it('reaches a turn whose log and workflow come a moment later', async () => {
    const { deps, numTries } = depsOf([
      [false, false],
      [false, false],
      [true, false],
    ]);
    await cancelRunning(deps, conversationId, turnId, async () => true);
    expect(numTries()).toBe(3);
  });

  it('asks once for a turn that has ended meanwhile', async () => {
    const { deps, numTries } = depsOf([]);
    await cancelRunning(deps, conversationId, turnId, async () => false);
    expect(numTries()).toBe(1);
  });
});
