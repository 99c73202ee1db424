// Under which heading of the list a conversation stands. Pure.

const DAY_MS = 86_400_000;

/** `Today`, `Yesterday`, `Previous 7 days`, `Previous 30 days`, then the month; by calendar days where the reader is. */
export function periodOf(lastTurnAt: string, now: Date): string {
  const at = new Date(lastTurnAt);
  if (Number.isNaN(at.getTime())) return 'Earlier';
  // Noon is in the same calendar day on either side of a change of the clocks.
  const days = Math.round((noonOf(now) - noonOf(at)) / DAY_MS);
  if (days <= 0) return 'Today';
  if (days === 1) return 'Yesterday';
  if (days <= 7) return 'Previous 7 days';
  if (days <= 30) return 'Previous 30 days';
  return at.toLocaleDateString('en', { month: 'long', year: 'numeric' });
}

function noonOf(date: Date): number {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate(), 12).getTime();
}
