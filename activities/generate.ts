// One generation of a turn on a pool's worker. The turn log is the checkpoint: whatever an earlier attempt emitted is
// read back as token ids and continued at the next position, token-exactly. Heartbeats only prove life.
import { Context } from '@temporalio/activity';
import type { Info } from '@temporalio/activity';
import { lookAheadOf } from '../contracts/catalog.ts';
import type { Catalog } from '../contracts/catalog.ts';
import type { SequenceFinish, ServedModel } from '../contracts/engine.ts';
import { AppError } from '../contracts/errors.ts';
import { withFacts } from '../contracts/open-entry.ts';
import type { NumberedEntry } from '../contracts/turn-events.ts';
import { epochOf } from '../contracts/turn-log.ts';
import type {
  AppendResult,
  ClaimedLog,
  TurnControl,
  TurnLogWriter,
  TurnReaders,
  TurnSubscription,
} from '../contracts/turn-log.ts';
import type { FinishReason } from '../contracts/turn-facts.ts';
import type { LeasedTask, TaskLeases } from '../contracts/process-leases.ts';
import type { GenerateInput, GenerateResult } from '../contracts/turn-workflow.ts';
import { findRequest } from '../postgres/turn-requests.ts';
import type { Stores } from '../postgres/stores.ts';
import type { Logger } from '../process/logger.ts';
import type { Metrics } from '../process/metrics.ts';
import { translateFailures } from './failure.ts';
import { LookAhead } from './look-ahead.ts';
import { recordPrompt } from './prompt-record.ts';
import { preparePrompt } from './prompt-source.ts';
import type { PreparedPrompt } from './prompt-source.ts';
import {
  continuationOf,
  mostEntries,
  numOutputTokens,
  recallLog,
  standIns,
} from './recalled-log.ts';
import type { RecalledLog } from './recalled-log.ts';
import { runReplies } from './reply-run.ts';
import type { RepliesEnd } from './reply-run.ts';
import type { FlushSettings } from './token-flusher.ts';

export interface GenerateDeps {
  readonly stores: Stores;
  readonly turnLog: TurnLogWriter;
  readonly control: TurnControl;
  readonly readers: TurnReaders;
  readonly model: ServedModel;
  readonly leases: TaskLeases;
  readonly catalog: Catalog;
  readonly flush: FlushSettings;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

/** Well inside the 3 s time-out, and rare enough that a thousand generations are a thousand writes a second. */
const HEARTBEAT_MS = 1000;

export function createGenerateActivities(deps: GenerateDeps) {
  return translateFailures(
    { generate: (input: GenerateInput): Promise<GenerateResult> => generate(deps, input) },
    deps.logger,
  );
}

async function generate(deps: GenerateDeps, input: GenerateInput): Promise<GenerateResult> {
  const context = Context.current();
  const { attempt, currentAttemptScheduledTimestampMs } = context.info;
  deps.metrics.turnStage.observe(
    { stage: 'dispatch' },
    Math.max(0, Date.now() - currentAttemptScheduledTimestampMs) / 1000,
  );
  const release = deps.leases.hold(taskOf(context.info));
  const epoch = epochOf(input.dispatch, attempt);
  const heartbeats = setInterval(() => context.heartbeat(), HEARTBEAT_MS);
  const cancel = new AbortController();
  let listening: TurnSubscription | null = null;
  // Temporal says `cancelled` for many reasons; only one of them ends the turn, after the others another attempt goes on.
  const onTemporalCancel = (): void =>
    cancel.abort(
      context.cancellationDetails?.cancelRequested === true ? 'cancelled' : 'handed-over',
    );
  context.cancellationSignal.addEventListener('abort', onTemporalCancel, { once: true });
  const preparing = preparePrompt(deps, input);
  preparing.catch(() => undefined); // It is awaited below; until then its failure is nobody's yet.
  try {
    // Listening before claiming: a cancel is either in the claim's answer or on this channel.
    listening = await deps.control.onCancel(input.turnId, () => cancel.abort('cancelled'));
    const [prompt, claimed] = await Promise.all([
      preparing,
      deps.turnLog.claim(input.turnId, epoch),
    ]);
    const log = await ownLog(deps, input, epoch, claimed, prompt, attempt);
    if (claimed !== 'missing' && claimed !== 'fenced' && claimed.isCancelled)
      cancel.abort('cancelled');
    if (context.cancellationSignal.aborted) onTemporalCancel();
    if (epoch > epochOf(1, 1) && input.lostEntries === undefined)
      await announceRetry(deps, input, epoch, log, attempt);
    const [{ finish, numCachedTokens }] = await Promise.all([
      relay(deps, input, epoch, prompt, log, cancel.signal),
      recordPrompt(deps, input, prompt.tokenIds),
    ]);
    if (finish.reason === 'refused') throw finish.error;
    if (finish.reason === 'error') throw new AppError('GENERATION_FAILED', { cause: finish.error });
    if (isHandedOver(finish, cancel.signal))
      throw new AppError('GENERATION_FAILED', {
        message: 'the worker is stopping, or another one has the turn',
      });
    const usage = {
      promptTokens: prompt.tokenIds.length,
      completionTokens: numOutputTokens(log),
      cachedTokens: Math.min(numCachedTokens, prompt.tokenIds.length),
    };
    return {
      finishReason: finishReasonOf(finish),
      usage,
      lastEntry: log.entries.length,
      numAttempts: attempt,
      continuation: continuationOf(log.entries),
    };
  } finally {
    release();
    clearInterval(heartbeats);
    context.cancellationSignal.removeEventListener('abort', onTemporalCancel);
    await listening?.close();
  }
}

function taskOf({ base64TaskToken, activityId, workflowExecution }: Info): LeasedTask {
  const { workflowId = '', runId = '' } = workflowExecution ?? {};
  return { token: base64TaskToken, workflowId, runId, activityId };
}

/** This attempt ends and the reply does not. */
function isHandedOver(finish: SequenceFinish, cancelled: AbortSignal): boolean {
  if (finish.reason === 'error' || finish.reason === 'refused') return true;
  return finish.reason === 'abort' && cancelled.reason === 'handed-over';
}

function finishReasonOf({ reason }: SequenceFinish): FinishReason {
  if (reason === 'abort') return 'cancelled';
  return reason === 'refused' ? 'error' : reason;
}

/** What the log held when it was claimed; a log that Redis lost is begun anew while its turn is still wanted. */
async function ownLog(
  deps: GenerateDeps,
  input: GenerateInput,
  epoch: number,
  claimed: ClaimedLog | 'fenced' | 'missing',
  { params, open, maxTokens }: PreparedPrompt,
  attempt: number,
): Promise<RecalledLog> {
  if (claimed === 'fenced' || (claimed !== 'missing' && claimed.isEnded))
    throw new AppError('FENCED');
  const { n } = params;
  if (claimed !== 'missing' && claimed.entries.length >= (input.lostEntries ?? 0))
    return recallLog(claimed.entries, n);
  deps.logger.warn({ turnId: input.turnId }, 'turn log is missing, restoring it');
  const accepted = await findRequest(deps.stores.primaryOf(input.userId), input.turnId);
  const known: readonly NumberedEntry[] =
    claimed === 'missing'
      ? [{ n: 1, type: 'open', data: withFacts(open, accepted?.factIds ?? []) }]
      : claimed.entries;
  const numLost = mostEntries(input.lostEntries ?? 1, attempt, maxTokens, n);
  const isWhole = input.lostEntries === numLost;
  const log = recallLog([...known, ...standIns(known.length, numLost, isWhole)], n);
  if ((await restore(deps, input, epoch, log)) !== 'ok') throw new AppError('FENCED');
  return log;
}

/** Puts back what Redis lost of the log. */
function restore(
  deps: GenerateDeps,
  input: GenerateInput,
  epoch: number,
  log: RecalledLog,
): Promise<AppendResult> {
  const owner = { userId: input.userId, conversationId: input.conversationId };
  return deps.turnLog.restore(owner, input.turnId, epoch, log.entries);
}

async function announceRetry(
  deps: GenerateDeps,
  input: GenerateInput,
  epoch: number,
  log: RecalledLog,
  attempt: number,
): Promise<void> {
  const continuation = numOutputTokens(log) === 0 ? {} : { continuation: deps.model.continuation };
  const entry: NumberedEntry = {
    n: log.entries.length + 1,
    type: 'retry',
    data: { attempt, ...continuation },
  };
  const result = await deps.turnLog.append(input.turnId, epoch, [entry]);
  if (result === 'fenced') throw new AppError('FENCED');
  if (result === 'missing') throw new AppError('STREAM_UNAVAILABLE'); // Lost between claim and here: the next attempt restores it.
  log.entries.push(entry);
}

/** Generates what is left of the replies and appends it. `log` grows with what is appended. */
async function relay(
  deps: GenerateDeps,
  input: GenerateInput,
  epoch: number,
  prompt: PreparedPrompt,
  log: RecalledLog,
  cancelled: AbortSignal,
): Promise<RepliesEnd> {
  const numBefore = numOutputTokens(log);
  const startedAt = performance.now();
  let firstTokenAt: number | null = null;
  let lost: 'fenced' | 'missing' | null = null;
  const stopped = new AbortController();
  const seqId = `${input.turnId}/${epoch}`;
  const lookAhead = newLookAhead(deps, input, log, seqId);
  const end = await runReplies({
    model: deps.model,
    prompt,
    log,
    seqId,
    priority: input.priority,
    flush: deps.flush,
    stop: AbortSignal.any([cancelled, stopped.signal]),
    isHandedOver: () => cancelled.reason === 'handed-over',
    append: async (entries) => {
      log.entries.push(...entries.filter((entry) => entry.n > log.entries.length));
      const result = await deps.turnLog.append(input.turnId, epoch, entries);
      if (result !== 'missing') return result;
      // Redis lost the log, or the conversation was deleted; only the store knows.
      await preparePrompt(deps, input);
      return restore(deps, input, epoch, log);
    },
    onLost: (why) => {
      lost = why;
      stopped.abort();
    },
    onFirstToken: () => {
      firstTokenAt = performance.now();
      deps.metrics.turnStage.observe({ stage: 'prefill' }, (firstTokenAt - startedAt) / 1000);
    },
    onTokens: () => lookAhead?.onTokens(),
  }).finally(() => lookAhead?.stop());
  if (lost !== null) throw new AppError(lost === 'fenced' ? 'FENCED' : 'TURN_DELETED');
  const numTokens = (numOutputTokens(log) - numBefore) / log.replies.length;
  observe(deps, input, firstTokenAt, numTokens, startedAt);
  return end;
}

/** Null for a pool whose replies wait for nobody. */
function newLookAhead(
  { catalog, model, readers }: GenerateDeps,
  { pool, turnId }: GenerateInput,
  log: RecalledLog,
  seqId: string,
): LookAhead | null {
  const numTokens = lookAheadOf(catalog, pool);
  const { engine } = model;
  // Several replies are sequences of one id as a rule, of several after a failover: those are not held.
  if (numTokens === null || !engine.hold) return null;
  return new LookAhead({
    numTokens,
    log,
    readers: () => readers.stateOf(turnId),
    hold: (isHeld) => engine.hold?.(seqId, isHeld),
  });
}

function observe(
  deps: GenerateDeps,
  input: GenerateInput,
  firstTokenAt: number | null,
  /** Of each reply; the mean of several. */
  numTokens: number,
  startedAt: number,
): void {
  const now = performance.now();
  deps.metrics.turnStage.observe({ stage: 'generate' }, (now - startedAt) / 1000);
  if (firstTokenAt !== null && numTokens > 1)
    deps.metrics.turnTpot.observe(
      { pool: input.pool },
      (now - firstTokenAt) / (numTokens - 1) / 1000,
    );
}
