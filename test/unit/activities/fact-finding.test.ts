import { createFactJudge } from '../../../activities/fact-judge.ts';
import { findFacts } from '../../../activities/fact-finding.ts';
import { newTurnId } from '../../../contracts/ids.ts';
import { RuleFactGuard } from '../../../moderation/fact-guard.ts';
import { fakeServedModel } from '../../helpers/fake-served-model.ts';

const turn = (content: string) => ({ turnId: newTurnId(), content });

describe('createFactJudge', () => {
  it.each([
    ['yes', true],
    ['no', false],
  ])(
    'takes the model’s %p, which is held to two words at the lowest priority',
    async (reply, isLasting) => {
      const model = fakeServedModel({ reply });
      expect(await createFactJudge(model).isLasting('The user likes tea.')).toBe(isLasting);
      const [request] = model.engine.requests;
      expect(request?.sampling.choices).toEqual(
        ['yes', 'no'].map((each) => model.encodeText(each)),
      );
      expect(request?.priority).toBe(5);
    },
  );

  it('fails when the engine ends it', async () => {
    const model = fakeServedModel({ reply: 'yes', beforeToken: () => model.close() });
    await expect(createFactJudge(model).isLasting('The user likes tea.')).rejects.toMatchObject({
      code: 'GENERATION_FAILED',
    });
  });
});

describe('findFacts', () => {
  it('asks the judge only about what rules and guard let through and can change, and names each fact’s turn', async () => {
    const asked: string[] = [];
    const judge = {
      isLasting: async (fact: string) => {
        asked.push(fact);
        return !fact.includes('tea');
      },
    };
    const turns = [
      turn('I like tea. I like maps. My PIN is 1234, I like pins.'),
      turn('I live in Oslo.'),
    ];
    const found = await findFacts(turns, new RuleFactGuard(), judge);
    expect(asked).toEqual(['The user likes tea.', 'The user likes maps.']);
    expect(found).toEqual({
      facts: [
        { text: 'The user likes maps.', topic: null, sourceTurnId: turns[0]?.turnId },
        { text: 'The user lives in Oslo.', topic: 'home', sourceTurnId: turns[1]?.turnId },
      ],
      numCandidates: 4,
      numRefused: 1,
      numJudgedOut: 1,
    });
  });

  it('keeps what the rules let through where no model can be asked', async () => {
    const { facts } = await findFacts([turn('I like tea.')], new RuleFactGuard(), null);
    expect(facts).toHaveLength(1);
  });
});
