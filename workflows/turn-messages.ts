// The turn workflow's signal and query, imported by the workflow and by its clients.
import { defineQuery, defineSignal } from '@temporalio/workflow';
import type { TurnProgress } from '../contracts/turn-workflow.ts';

/** Stop the turn and store what was delivered. Repeats and late arrivals do nothing. */
export const cancelSignal = defineSignal('cancel');
export const progressQuery = defineQuery<TurnProgress>('progress');
