// One summary made on a pool's worker: its texts come from the store, the summary goes there, ids alone come and go.
// Its work is the engine's least urgent, and nothing of it stays in the prefix cache.
import { Context } from '@temporalio/activity';
import type { SummaryTask } from '../contracts/background-work.ts';
import type { Catalog } from '../contracts/catalog.ts';
import type { SequenceFinish, ServedModel } from '../contracts/engine.ts';
import { AppError } from '../contracts/errors.ts';
import { newSummaryId } from '../contracts/ids.ts';
import { summaryPrompt } from '../conversation/summary-prompt.ts';
import type { SummarySource } from '../conversation/summary-prompt.ts';
import { summaryText } from '../conversation/summary-text.ts';
import type { Db } from '../postgres/pool.ts';
import type { Stores } from '../postgres/stores.ts';
import {
  insertSummary,
  isSummaryMade,
  summariesEndingAt,
  turnsOfPath,
} from '../postgres/summaries.ts';
import type { Logger } from '../process/logger.ts';
import { translateFailures } from './failure.ts';

export interface SummariseDeps {
  readonly stores: Stores;
  readonly catalog: Catalog;
  readonly model: ServedModel;
  readonly logger: Logger;
}

/** Behind every turn: tiers have 1 … 5, and equal ones are served as they come. */
const LEAST_URGENT = 6;
/** Small models repeat themselves. Of the output only: a summary is made of its source's words. */
const FREQUENCY_PENALTY = 0.3;
const HEARTBEAT_MS = 1000;

export function createSummariseActivities(deps: SummariseDeps) {
  return translateFailures(
    { summarise: (task: SummaryTask): Promise<void> => summarise(deps, task) },
    deps.logger,
  );
}

/** A repeat finds the summary made. @throws AppError GENERATION_FAILED */
async function summarise(deps: SummariseDeps, task: SummaryTask): Promise<void> {
  const { stores, catalog, model } = deps;
  const db = stores.primaryOf(task.userId);
  if (await isSummaryMade(db, task)) return;
  const sources = await sourcesOf(db, task);
  const maxTokens = catalog.prompt.summary_tokens;
  const context = Context.current();
  const heartbeats = setInterval(() => context.heartbeat(), HEARTBEAT_MS);
  try {
    const made = await write(model, sources, maxTokens, seqIdOf(task), context.cancellationSignal);
    const { conversationId, level, parentTurnId, firstTurnId, lastTurnId } = task;
    await insertSummary(db, {
      ...{ conversationId, level, parentTurnId, firstTurnId, lastTurnId },
      ...{ nodeId: newSummaryId(), model: model.name },
      ...made,
    });
  } finally {
    clearInterval(heartbeats);
  }
}

async function sourcesOf(db: Db, task: SummaryTask): Promise<SummarySource[]> {
  if (task.level === 0) return turnsOfPath(db, task);
  const { conversationId, level, childLastTurnIds } = task;
  const texts = await summariesEndingAt(db, conversationId, level - 1, childLastTurnIds);
  return texts.map((text) => ({ role: 'summary', text }));
}

function seqIdOf({ conversationId, level, firstTurnId, lastTurnId }: SummaryTask): string {
  return `summary/${conversationId}/${level}/${firstTurnId}/${lastTurnId}`;
}

/** Greedy, so that a second try says the same. */
async function write(
  model: ServedModel,
  sources: readonly SummarySource[],
  maxTokens: number,
  seqId: string,
  cancelled: AbortSignal,
): Promise<{ text: string; tokenCount: number }> {
  if (sources.every(({ text }) => text === '')) return { text: '', tokenCount: 0 };
  const promptTokenIds = summaryPrompt(
    sources,
    (messages) => model.encodePrompt(messages),
    model.contextLength - maxTokens,
  );
  if (promptTokenIds === null) return { text: '', tokenCount: 0 };
  const stream = model.createTextStream([]);
  let text = '';
  const finish = await new Promise<SequenceFinish>((resolve) => {
    const abort = (): void => model.engine.abort(seqId);
    cancelled.addEventListener('abort', abort, { once: true });
    model.engine.submit(
      {
        seqId,
        promptTokenIds,
        outputTokenIds: [],
        maxTokens,
        sampling: {
          temperature: 0,
          topP: 1,
          topK: 0,
          seed: 0,
          frequencyPenalty: FREQUENCY_PENALTY,
        },
        stopTokenIds: model.stopTokenIds,
        priority: LEAST_URGENT,
        cacheScope: null,
      },
      {
        onTokens: (ids) => {
          for (const id of ids) text += stream.push(id);
        },
        onFinish: (end) => {
          cancelled.removeEventListener('abort', abort);
          resolve(end);
        },
      },
    );
  });
  if (finish.reason !== 'stop' && finish.reason !== 'length')
    throw new AppError('GENERATION_FAILED', {
      message: 'the summary was not finished',
      cause: 'error' in finish ? finish.error : undefined,
    });
  const written = (text + stream.end()).replaceAll('\0', '\uFFFD');
  const lengthOf = (content: string): number =>
    model.encodePrompt([{ role: 'user', content }]).length;
  const nothing = lengthOf('');
  const count = (each: string): number => lengthOf(each) - nothing;
  const kept = summaryText(written, sources, count, maxTokens);
  return { text: kept, tokenCount: count(kept) };
}
