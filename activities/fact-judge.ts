// A model's judgement of a candidate fact: its reply is held to two words. The shipped model of 135 million parameters is a
// weak judge (docs/memory.md); it is asked only about what rules let through.
import type { ChatMessage, SequenceRequest, ServedModel } from '../contracts/engine.ts';
import { AppError } from '../contracts/errors.ts';

export interface FactJudge {
  /** Whether a fact in the third person will matter beyond its conversation. @throws AppError GENERATION_FAILED */
  isLasting(fact: string): Promise<boolean>;
}

const QUESTION = 'Decide whether a fact about the user is worth remembering for years.';
const EXAMPLES: readonly (readonly [fact: string, isLasting: boolean])[] = [
  ['The user lives in Vienna.', true],
  ['The user prefers the second version.', false],
  ['The user is a carpenter.', true],
  ['The user has three apples.', false],
  ['The user loves old jazz records.', true],
  ['The user hates this bug in line 12.', false],
];
/** Added to the logit of `yes`: measured so that nine of ten real facts are kept. Small models lean towards `no` here. */
const YES_BIAS = 1;
/** After every turn's. */
const PRIORITY = 5;

/** @param model one whose engine takes choices */
export function createFactJudge(model: ServedModel): FactJudge {
  const choices = [model.encodeText('yes'), model.encodeText('no')];
  const [yes = []] = choices;
  let numAsked = 0;
  return {
    isLasting: async (fact) => {
      numAsked += 1;
      const said = await reply(model, {
        seqId: `fact/${process.pid}/${numAsked}`,
        promptTokenIds: model.encodePrompt(messagesFor(fact)),
        outputTokenIds: [],
        maxTokens: Math.max(...choices.map(({ length }) => length)),
        sampling: {
          temperature: 0,
          topP: 1,
          topK: 0,
          seed: 0,
          choices,
          logitBias: yes.slice(0, 1).map((id) => [id, YES_BIAS] as const),
        },
        stopTokenIds: model.stopTokenIds,
        priority: PRIORITY,
        // The examples are the same for everybody and nobody's secret.
        cacheScope: { tenant: 'fact-judge', numSharedTokens: 0 },
      });
      return said.length === yes.length && said.every((id, at) => id === yes[at]);
    },
  };
}

function messagesFor(fact: string): ChatMessage[] {
  const examples = EXAMPLES.flatMap(([content, isLasting]): ChatMessage[] => [
    { role: 'user', content },
    { role: 'assistant', content: isLasting ? 'yes' : 'no' },
  ]);
  return [{ role: 'system', content: QUESTION }, ...examples, { role: 'user', content: fact }];
}

function reply({ engine }: ServedModel, request: SequenceRequest): Promise<number[]> {
  const tokens: number[] = [];
  return new Promise((resolve, reject) => {
    engine.submit(request, {
      onTokens: (ids) => tokens.push(...ids),
      onFinish: (finish) => {
        if (finish.reason === 'stop') resolve(tokens);
        else if ('error' in finish) reject(finish.error);
        else reject(new AppError('GENERATION_FAILED'));
      },
    });
  });
}
