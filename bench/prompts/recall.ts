// Whether a model knows what was said long ago: it is asked behind the whole conversation, with the prompt as it is made, with
// the window alone, and with as much of the conversation word for word as the context holds.
import { join } from 'node:path';
import { assemblePrompt } from '../../activities/prompt-source.ts';
import type { Catalog } from '../../contracts/catalog.ts';
import type { ChatMessage, ServedModel } from '../../contracts/engine.ts';
import type { ConversationId, TurnId } from '../../contracts/ids.ts';
import { createServedModel } from '../../inference/served-model.ts';
import { createPool } from '../../postgres/pool.ts';
import type { LongConversation } from './long-conversation.ts';
import { PLANTED } from './script.ts';

export interface RecallRow {
  readonly turn: number;
  /** Of each kind of prompt: whether the words are in it, and whether the answer has them. */
  readonly summaries: Recalled;
  readonly windowOnly: Recalled;
  readonly wholeContext: Recalled;
}

interface Recalled {
  readonly promptTokens: number;
  readonly isInPrompt: boolean;
  readonly isAnswered: boolean;
}

const ANSWER_TOKENS = 32;

export async function recallRows(
  url: string,
  home: string,
  catalog: Catalog,
  { conversationId, turns }: LongConversation,
): Promise<RecallRow[]> {
  const pool = catalog.pools['mini'];
  if (pool?.kind !== 'native') throw new Error('the pool mini is no native one');
  const model = createServedModel({
    modelPath: join(home, pool.weights),
    kvPoolBytes: pool.kv_pool_bytes,
    threads: 0,
    contextLength: pool.context_length,
    maxNumBatchedTokens: pool.max_num_batched_tokens,
    maxNumSeqs: 4,
    maxDraftTokens: 0,
    onListenerError: (error) => {
      throw error;
    },
  });
  const db = createPool({ url, poolSize: 2 }, () => undefined);
  const last = turns.at(-1);
  if (last === undefined) throw new Error('there was no turn');
  const messagesOf = async (numSummaryTokens: number): Promise<ChatMessage[]> => {
    const assembled = await assemblePrompt(
      {
        db,
        catalog: { ...catalog, prompt: { ...catalog.prompt, summary_tokens: numSummaryTokens } },
        contextLength: model.contextLength - 256,
        encode: (messages) => model.encodePrompt(messages),
      },
      {
        conversationId: conversationId as ConversationId,
        turnId: last.turnId as TurnId,
        userTurnId: last.userTurnId as TurnId,
      },
      false,
    );
    return (assembled?.plan?.messages ?? []).slice(0, -1);
  };
  const told = await messagesOf(catalog.prompt.summary_tokens);
  const whole = await messagesOf(0);
  const windowOnly: ChatMessage[] = [
    { role: 'system', content: catalog.system_prompt },
    ...told.slice(1),
  ];
  const found: RecallRow[] = [];
  for (const { turn, question, answer } of PLANTED.filter(({ turn: at }) => at <= last.turn)) {
    const ask = (messages: readonly ChatMessage[]): Promise<Recalled> =>
      recall(model, messages, question, answer);
    found.push({
      turn,
      summaries: await ask(told),
      windowOnly: await ask(windowOnly),
      wholeContext: await ask(whole),
    });
  }
  await model.close();
  await db.end();
  return found;
}

let numAsked = 0;

async function recall(
  model: ServedModel,
  messages: readonly ChatMessage[],
  question: string,
  answer: string,
): Promise<Recalled> {
  const promptTokenIds = model.encodePrompt([...messages, { role: 'user', content: question }]);
  const stream = model.createTextStream([]);
  let text = '';
  await new Promise<void>((resolve) => {
    model.engine.submit(
      {
        seqId: `recall-${numAsked++}`,
        promptTokenIds,
        outputTokenIds: [],
        maxTokens: ANSWER_TOKENS,
        sampling: { temperature: 0, topP: 1, topK: 0, seed: 0 },
        stopTokenIds: model.stopTokenIds,
        priority: 1,
        cacheScope: { tenant: 'recall', numSharedTokens: 0 },
      },
      {
        onTokens: (ids) => {
          for (const id of ids) text += stream.push(id);
        },
        onFinish: () => resolve(),
      },
    );
  });
  text += stream.end();
  return {
    promptTokens: promptTokenIds.length,
    isInPrompt: messages.some(({ content }) => content.toLowerCase().includes(answer)),
    isAnswered: text.toLowerCase().includes(answer),
  };
}
