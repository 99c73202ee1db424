// The two steps of the bare path.
import type { TurnId } from '../../contracts/ids.ts';
import { epochOf } from '../../contracts/turn-log.ts';
import type { TurnLogWriter } from '../../contracts/turn-log.ts';

export async function prepare(): Promise<void> {}

export function appendOne(turnLog: TurnLogWriter): (turnId: string) => Promise<void> {
  return async (turnId) => {
    await turnLog.append(turnId as TurnId, epochOf(1, 1), [
      { n: 2, type: 'token', data: { text: 'x', ids: [1] } },
    ]);
  };
}
