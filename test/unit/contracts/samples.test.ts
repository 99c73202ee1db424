import fc from 'fast-check';
import { isUuid, newTurnId } from '../../../contracts/ids.ts';
import type { TurnId } from '../../../contracts/ids.ts';
import {
  MAX_SAMPLES,
  sampleTurnId,
  sampleTurnIds,
  turnIdsOfSample,
} from '../../../contracts/samples.ts';

describe('ids of samples', () => {
  it('begin with the turn’s own, are UUIDs of the same moment and sort by index', () => {
    const turnId = newTurnId();
    const ids = sampleTurnIds(turnId, MAX_SAMPLES);
    expect(ids[0]).toBe(turnId);
    expect(ids.every(isUuid)).toBe(true);
    expect(ids.every((id) => id.startsWith(turnId.slice(0, 24)))).toBe(true);
    expect([...ids].sort()).toEqual(ids);
    expect(new Set(ids).size).toBe(MAX_SAMPLES);
  });

  it('lead back to their turn, also across the end of their digits', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.uuid({ version: 7 }), fc.constant('0190aaaa-bbbb-7ccc-8ddd-ffffffffffff')),
        fc.nat(MAX_SAMPLES - 1),
        (id, index) => {
          const turnId = id as TurnId;
          expect(turnIdsOfSample(sampleTurnId(turnId, index))[index]).toBe(turnId);
        },
      ),
    );
  });
});
