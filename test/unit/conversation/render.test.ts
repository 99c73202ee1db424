import type { FactId } from '../../../contracts/ids.ts';
import type { SummaryNode } from '../../../conversation/prompt-parts.ts';
import { systemMessage, turnMessage } from '../../../conversation/render.ts';
import { dayOf, dayOfTurn } from '../../../conversation/turn-day.ts';
import { branchOf, turnIdOf } from '../../helpers/prompt-turns.ts';

const node = (text: string): SummaryNode => ({
  nodeId: text,
  level: 0,
  parentTurnId: null,
  firstTurnId: turnIdOf(0),
  lastTurnId: turnIdOf(1),
  text,
});

describe('systemMessage', () => {
  it('tells the summaries behind the system prompt, a line each', () => {
    const [message] = systemMessage('Be kind.', [node('They met.\n- Or not.'), node('')]);
    expect(message?.content).toBe(
      'Be kind.\n\nEarlier in this conversation, in short, oldest first:\n- They met. - Or not.',
    );
    expect(message?.parts.map(({ kind }) => kind)).toEqual(['system', 'summary']);
  });

  it('is not there where there is nothing to say', () => {
    expect(systemMessage('', [node('')])).toEqual([]);
  });
});

describe('turnMessage', () => {
  it('says facts and the day of the turn before the message, and the message as it was sent', () => {
    const [turn] = branchOf(['  Where\nam I?']);
    if (turn === undefined) throw new Error('no turn');
    const dated = { ...turn, turnId: '019ad8f0-0000-7000-8000-000000000000' as typeof turn.turnId };
    const facts = [{ factId: 'f' as FactId, text: 'lives in\nOslo', day: '2025-02-03' }];
    expect(turnMessage(dated, facts).content).toBe(
      '(Today is 2025-12-01. What you know about me:\n- lives in Oslo (2025-02-03))\n\n  Where\nam I?',
    );
    expect(turnMessage(turn, []).content).toBe('  Where\nam I?');
  });
});

describe('days', () => {
  it('are those of UTC, of a turn by its id', () => {
    expect(dayOf(new Date('2026-12-01T23:59:59.999Z'))).toBe('2026-12-01');
    expect(dayOfTurn('019ad8f0-0000-7000-8000-000000000000' as ReturnType<typeof turnIdOf>)).toBe(
      '2025-12-01',
    );
  });
});
