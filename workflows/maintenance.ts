// Housekeeping by schedule: accepted turns that no workflow runs.
import { proxyActivities } from '@temporalio/workflow';
import type { createMaintenanceActivities } from '../activities/maintenance.ts';
import type { MaintenanceReport } from '../contracts/background-work.ts';

const { recoverTurns } = proxyActivities<ReturnType<typeof createMaintenanceActivities>>({
  startToCloseTimeout: '60s',
  retry: { initialInterval: '1s', maximumInterval: '30s', maximumAttempts: 5 },
});

export async function maintenance(): Promise<MaintenanceReport> {
  return recoverTurns();
}
