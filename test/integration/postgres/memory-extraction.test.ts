// Extraction of facts into a real store: rules, guard and SQL; the model's judgement and the vectors are twins.
import fc from 'fast-check';
import { deleteConversation } from '../../../postgres/erasure.ts';
import { changeFacts, listFacts, removeAllFacts } from '../../../postgres/memory-facts.ts';
import { rows } from '../../../postgres/pool.ts';
import { changeUserSettings } from '../../../postgres/user-settings.ts';
import { createMemoryWorld } from '../../helpers/memory-world.ts';
import type { MemoryWorld } from '../../helpers/memory-world.ts';

let world: MemoryWorld;
beforeAll(async () => {
  world = await createMemoryWorld({ isLasting: async (fact) => !fact.includes('passing') });
}, 60_000);
afterAll(() => world.close());

const NO_CHANGE = { add: [], edit: [], remove: [] };
const remove = async (userId: Parameters<MemoryWorld['facts']>[0], text: string) => {
  const facts = await listFacts(world.db, userId);
  const gone = facts.filter((each) => each.text === text).map(({ factId }) => factId);
  await changeFacts(world.db, userId, { ...NO_CHANGE, remove: gone }, null);
};

describe('an extraction', () => {
  it('keeps what the user says of themselves, and neither secrets nor others nor what the model takes for passing', async () => {
    const user = await world.newUser();
    const id = await world.newConversation(user);
    await world.say(id, "My name is Marta. I'm allergic to peanuts. My password is hunter2.");
    await world.say(
      id,
      'My sister lives in Rome. I like passing clouds. I have been diagnosed with gout.',
    );
    const report = await world.extract(id);
    expect(await world.facts(user)).toEqual([
      'The user is allergic to peanuts.',
      "The user's name is Marta.",
    ]);
    expect(report).toMatchObject({ numTurns: 2, numNew: 2, numKnown: 0, numJudgedOut: 1 });
    const [fact] = await listFacts(world.db, user);
    expect(fact?.conversationId).toBe(id);
  });

  it('changes nothing when it runs again, be its boundary there or lost, whatever was said', async () => {
    const sentence = fc.constantFrom(
      'I live in Oslo.',
      'I live in Bergen.',
      'I like tea.',
      'I really like tea.',
      'I like green tea.',
      'I work as a baker.',
      'My name is Ada.',
      'What is a baker?',
    );
    const messages = fc.array(fc.array(sentence, { minLength: 1, maxLength: 3 }), {
      minLength: 1,
      maxLength: 5,
    });
    await fc.assert(
      fc.asyncProperty(messages, fc.nat(2), async (all, numOthers) => {
        const user = await world.newUser();
        const id = await world.newConversation(user);
        for (const each of all) await world.say(id, each.join(' '));
        await world.extract(id);
        for (let other = 0; other < numOthers; other += 1) {
          const another = await world.newConversation(user);
          await world.say(another, 'I live in Bergen. I like green tea.');
          await world.extract(another);
        }
        const before = await world.dump(user);
        await world.extract(id);
        expect(await world.dump(user)).toEqual(before);
        await world.loseBoundary(id);
        await world.extract(id);
        expect(await world.dump(user)).toEqual(before);
      }),
      { numRuns: 6 },
    );
  });

  it('takes a newer home for the older one, and a fact told in other words for the same', async () => {
    const user = await world.newUser();
    const id = await world.newConversation(user);
    await world.say(id, 'I live in Oslo. I like strong black coffee in the morning.');
    await world.extract(id);
    await world.say(id, 'I moved to Bergen. I really enjoy strong black coffee in the morning.');
    const report = await world.extract(id);
    expect(report).toMatchObject({ numTurns: 1, numNew: 1, numKnown: 1 });
    expect(await world.facts(user)).toEqual([
      'The user likes strong black coffee in the morning.',
      'The user lives in Bergen.',
    ]);
  });

  it('reads the branch that counts, and nothing that the policy stopped', async () => {
    const user = await world.newUser();
    const id = await world.newConversation(user);
    const { replyId } = await world.say(id, 'Hello.');
    await world.say(id, 'I live in Oslo.');
    await world.say(id, 'I live in Bergen.', { parent: replyId });
    await world.say(id, 'I like forbidden things.', { finishReason: 'content_filter' });
    await world.extract(id);
    expect(await world.facts(user)).toEqual(['The user lives in Bergen.']);
  });

  it('is nothing but a moved boundary where memory is off, for good', async () => {
    const user = await world.newUser();
    const [one, other] = [await world.newConversation(user), await world.newConversation(user)];
    await world.say(one, 'I live in Oslo.');
    await rows(
      world.db,
      'update conversations set memory_enabled = false where conversation_id = $1',
      [one],
    );
    await world.extract(one);
    await rows(
      world.db,
      'update conversations set memory_enabled = true where conversation_id = $1',
      [one],
    );
    await world.extract(one);
    await changeUserSettings(world.db, user, { isMemoryEnabled: false });
    await world.say(other, 'I live in Bergen.');
    expect(await world.extract(other)).toMatchObject({ numTurns: 0, numNew: 0 });
    await changeUserSettings(world.db, user, { isMemoryEnabled: true });
    await world.extract(other);
    expect(await world.facts(user)).toEqual([]);
  });

  it('adds one fact when two conversations tell the same at once', async () => {
    const user = await world.newUser();
    const ids = await Promise.all(Array.from({ length: 6 }, () => world.newConversation(user)));
    for (const id of ids) await world.say(id, 'I like tea. I live in Oslo.');
    await Promise.all(ids.map((id) => world.extract(id)));
    expect(await world.facts(user)).toEqual(['The user likes tea.', 'The user lives in Oslo.']);
    const found = await rows(world.db, 'select 1 from user_memory where user_id = $1', [user]);
    expect(found).toHaveLength(2);
  });
});

describe('a removed fact', () => {
  it('does not come back from its source, nor leaves its text there, and does from what is said later', async () => {
    const user = await world.newUser();
    const id = await world.newConversation(user);
    await world.say(id, 'I live in Oslo. I like tea.');
    await world.extract(id);
    await remove(user, 'The user lives in Oslo.');
    await world.loseBoundary(id);
    await world.extract(id);
    expect(await world.facts(user)).toEqual(['The user likes tea.']);
    expect(JSON.stringify(await world.dump(user))).not.toMatch(/oslo/iu);
    await world.say(id, 'I live in Oslo!');
    await world.extract(id);
    expect(await world.facts(user)).toEqual(['The user likes tea.', 'The user lives in Oslo.']);
    await removeAllFacts(world.db, user);
    await world.loseBoundary(id);
    await world.extract(id);
    expect(await world.facts(user)).toEqual([]);
  });

  it('takes the older wordings with it that it had taken the place of', async () => {
    const user = await world.newUser();
    const id = await world.newConversation(user);
    for (const town of ['Oslo', 'Bergen', 'Tromsø']) {
      await world.say(id, `I live in ${town}.`);
      await world.extract(id);
    }
    await remove(user, 'The user lives in Tromsø.');
    expect(await world.facts(user)).toEqual([]);
  });
});

describe('a deleted conversation', () => {
  it('takes the facts with it that were said nowhere else, and their traces', async () => {
    const user = await world.newUser();
    const [one, other] = [await world.newConversation(user), await world.newConversation(user)];
    await world.say(one, 'I like tea. I play the piano.');
    await world.extract(one);
    await world.say(other, 'I like tea. I live in Oslo.');
    await world.extract(other);
    await remove(user, 'The user plays the piano.');
    await deleteConversation(world.db, user, one);
    expect(await world.facts(user)).toEqual(['The user likes tea.', 'The user lives in Oslo.']);
    await deleteConversation(world.db, user, other);
    expect(await world.dump(user)).toEqual({ facts: [], sources: [] });
  });

  it('brings the newest wording back that its own had hidden', async () => {
    const user = await world.newUser();
    const ids = [];
    for (const town of ['Oslo', 'Bergen', 'Tromsø']) {
      const id = await world.newConversation(user);
      await world.say(id, `I live in ${town}.`);
      await world.extract(id);
      ids.push(id);
    }
    const [first, second, third] = ids;
    if (first === undefined || second === undefined || third === undefined) throw new Error();
    await deleteConversation(world.db, user, third);
    expect(await world.facts(user)).toEqual(['The user lives in Bergen.']);
    await deleteConversation(world.db, user, first);
    expect(await world.facts(user)).toEqual(['The user lives in Bergen.']);
    await deleteConversation(world.db, user, second);
    expect(await world.dump(user)).toEqual({ facts: [], sources: [] });
  });
});
