import { periodOf } from '../../../web/src/periods.ts';

describe('periodOf', () => {
  const now = new Date(2026, 2, 15, 0, 30);
  it.each([
    [new Date(2026, 2, 15, 0, 1), 'Today'],
    [new Date(2026, 2, 16, 9, 0), 'Today'],
    [new Date(2026, 2, 14, 23, 59), 'Yesterday'],
    [new Date(2026, 2, 13, 23, 59), 'Previous 7 days'],
    [new Date(2026, 2, 8, 12, 0), 'Previous 7 days'],
    [new Date(2026, 2, 7, 12, 0), 'Previous 30 days'],
    [new Date(2026, 0, 7, 12, 0), 'January 2026'],
  ])('puts %s under %s', (at, period) => {
    expect(periodOf(at.toISOString(), now)).toBe(period);
  });

  it('does not fail on a time that it cannot read', () => {
    expect(periodOf('soon', now)).toBe('Earlier');
  });
});
