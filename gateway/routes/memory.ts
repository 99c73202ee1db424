// What is remembered of the caller, and what they have switched on: read and changed by themselves only.
import type { Router } from 'express';
import { changeMemoryBody, changeSettingsBody, noQuery } from '../../contracts/api.ts';
import { embeddedText } from '../../contracts/fact-text.ts';
import { isUuid } from '../../contracts/ids.ts';
import type { FactId } from '../../contracts/ids.ts';
import { vectorAt } from '../../contracts/text-embedder.ts';
import { changeFacts, listFacts, removeAllFacts } from '../../postgres/memory-facts.ts';
import type { WordedFact } from '../../postgres/memory-facts.ts';
import { changeUserSettings, findUserSettings } from '../../postgres/user-settings.ts';
import type { UserSettings } from '../../postgres/user-settings.ts';
import { wireFacts } from '../wire.ts';
import { ownUserId } from './account.ts';
import type { GatewayDeps } from '../deps.ts';

export function addMemoryRoutes(router: Router, deps: GatewayDeps): void {
  const { stores, memory, logger } = deps;

  /** Without a vector a fact is kept all the same; a job makes it later. */
  const worded = async (texts: readonly string[]): Promise<WordedFact[]> => {
    const { embedder } = memory;
    if (embedder === null || texts.length === 0)
      return texts.map((text) => ({ text, vector: null }));
    try {
      const vectors = await embedder.embed(texts.map(embeddedText));
      return texts.map((text, at) => ({ text, vector: vectorAt(vectors, embedder.width, at) }));
    } catch (error) {
      logger.warn({ error }, 'facts were stored without their vectors');
      return texts.map((text) => ({ text, vector: null }));
    }
  };

  router.get('/v1/users/:user/memory', async (request, response) => {
    noQuery.parse(request.query);
    const userId = ownUserId(request, response);
    response.json({
      facts: wireFacts(await listFacts(await stores.readerOf(userId, null), userId)),
    });
  });

  router.patch('/v1/users/:user/memory', async (request, response) => {
    const { add = [], edit = [], remove = [] } = changeMemoryBody.parse(request.body);
    const userId = ownUserId(request, response);
    const edits = edit.filter(({ fact_id: id }) => isUuid(id));
    const words = await worded([...add, ...edits.map(({ text }) => text)].map(trimmed));
    const edited = edits.map(({ fact_id: id }, at) => ({
      text: '',
      vector: null,
      ...words[add.length + at],
      factId: id as FactId,
    }));
    const changes = {
      add: words.slice(0, add.length),
      edit: edited,
      remove: remove.filter(isUuid) as FactId[],
    };
    const model = memory.embedder?.model ?? null;
    response.json({
      facts: wireFacts(await changeFacts(stores.primaryOf(userId), userId, changes, model)),
    });
  });

  router.delete('/v1/users/:user/memory', async (request, response) => {
    const userId = ownUserId(request, response);
    await removeAllFacts(stores.primaryOf(userId), userId);
    response.status(204).end();
  });

  router.get('/v1/users/:user/settings', async (request, response) => {
    noQuery.parse(request.query);
    const userId = ownUserId(request, response);
    response.json(
      wireSettings(await findUserSettings(await stores.readerOf(userId, null), userId)),
    );
  });

  router.patch('/v1/users/:user/settings', async (request, response) => {
    const body = changeSettingsBody.parse(request.body);
    const userId = ownUserId(request, response);
    const change = {
      isMemoryEnabled: body.memory_enabled,
      isTrainingEligible: body.training_eligible,
    };
    const changed = await changeUserSettings(stores.primaryOf(userId), userId, change);
    response.json(wireSettings(changed));
  });
}

function trimmed(text: string): string {
  return text.trim();
}

function wireSettings({ isMemoryEnabled, isTrainingEligible }: UserSettings): object {
  return { memory_enabled: isMemoryEnabled, training_eligible: isTrainingEligible };
}
