import { readFileSync } from 'node:fs';
import { candidatesIn } from '../../../conversation/fact-candidates.ts';
import { factSentences } from '../../../conversation/fact-sentences.ts';
import { RuleFactGuard } from '../../../moderation/fact-guard.ts';
import { projectPath } from '../../../process/paths.ts';

const guard = new RuleFactGuard();
const factsIn = (message: string): string[] =>
  factSentences(message)
    .flatMap(candidatesIn)
    .filter(({ text, sentence }) => guard.refuses(text, sentence) === null)
    .map(({ text }) => text);

describe('the rules for facts', () => {
  it.each([
    [
      'My name is Marta and I live in Lisbon.',
      ["The user's name is Marta.", 'The user lives in Lisbon.'],
    ],
    ["I'm allergic to peanuts, what can I eat?", ['The user is allergic to peanuts.']],
    ['I moved to Berlin last year and still don’t know anybody.', ['The user lives in Berlin.']],
    ['i like hiking with my dog', ['The user likes hiking with their dog.']],
    ['By the way, remember that I work as a nurse!', ['The user works as a nurse.']],
    ['I have two daughters and they like games.', ['The user has two daughters.']],
  ])('find what %p says, in the third person', (message, facts) => {
    expect(factsIn(message)).toEqual(facts);
  });

  it.each([
    ['a question', 'Do I live in Lisbon?'],
    [
      'code and what is quoted',
      '```\nI like tea\n```\n> I like tea\n"I like tea" and `I like tea`',
    ],
    ['a text to work on', 'Translate this:\nI live in Paris.\nI like tea.'],
    ['a supposition', 'If I lived in Rome I like to think I am a chef.'],
    ['a mood', "I'm a bit tired. I'm looking for a recipe."],
    ['a document', `I like ${'very '.repeat(60)}long sentences.`],
  ])('find nothing in %s', (_name, message) => {
    expect(factsIn(message)).toEqual([]);
  });

  it('say of which facts there is one at a time', () => {
    const topicOf = (sentence: string) => candidatesIn(sentence).map(({ topic }) => topic);
    expect(topicOf('I live in Oslo')).toEqual(topicOf('I moved to Bergen'));
    expect(topicOf('I live in Oslo')).not.toEqual([null]);
    expect(topicOf('I like tea')).toEqual([null]);
  });

  it('keep most of what a set of messages says, and nothing of those that say nothing to keep', () => {
    const path = projectPath('test', 'fixtures', 'memory', 'messages.json');
    const { kept, dropped } = JSON.parse(readFileSync(path, 'utf8')) as {
      kept: { message: string; facts: string[] }[];
      dropped: string[];
    };
    const wanted = kept.flatMap(({ message, facts }) =>
      facts.map((fact) => [message, fact] as const),
    );
    const found = wanted.filter(([message, fact]) =>
      factsIn(message).some((each) => each.includes(fact)),
    );
    expect(found.length / wanted.length).toBeGreaterThan(0.88);
    expect(dropped.flatMap(factsIn)).toEqual([]);
  });
});
