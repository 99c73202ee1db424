// Replies of real weights that are held to choices.
import type { ServedModel } from '../../../contracts/engine.ts';
import { createServedModel } from '../../../inference/served-model.ts';
import { GREEDY, runSequence, sequenceRequest } from '../../helpers/engine-runs.ts';
import { MODEL_PATH, describeWithModel } from './native/model.ts';

const ANSWERS = ['yes', 'no', 'yes, of course', 'Schiffahrtsgesellschaft', 'いいえ'];
const QUESTIONS = ['Is snow white?', 'Tell me a story.', 'Say one, two, three.', '…', '2 + 2 = ?'];

describeWithModel('choices on real weights', () => {
  let model: ServedModel;
  beforeAll(() => {
    model = createServedModel({
      modelPath: MODEL_PATH,
      kvPoolBytes: 64 << 20,
      threads: 0,
      maxNumBatchedTokens: 64,
      maxNumSeqs: 16,
      maxDraftTokens: 8,
    });
  });
  afterAll(() => model.close());

  const replyTo = async (content: string, temperature: number, seed = 1): Promise<string> => {
    const choices = ANSWERS.map((text) => model.encodeText(text));
    const { tokens, finish } = await runSequence(
      model.engine,
      sequenceRequest(model.encodePrompt([{ role: 'user', content }]), {
        maxTokens: 32,
        stopTokenIds: model.stopTokenIds,
        sampling: { ...GREEDY, temperature, seed, choices },
      }),
    );
    expect(finish).toEqual({ reason: 'stop' });
    return Buffer.concat(tokens.map((id) => model.tokenBytes(id))).toString();
  };

  it.each([0, 1, 2])('are kept at temperature %d, alone and in any batch alike', async (heat) => {
    const together = await Promise.all(QUESTIONS.map((each) => replyTo(each, heat)));
    for (const [index, question] of QUESTIONS.entries()) {
      expect(ANSWERS).toContain(together[index]);
      expect(await replyTo(question, heat)).toBe(together[index]);
    }
  });

  it('are drawn from by their own probabilities', async () => {
    const drawn = await Promise.all(
      Array.from({ length: 24 }, (_, seed) => replyTo('Tell me a story.', 2, seed)),
    );
    expect(new Set(drawn).size).toBeGreaterThan(1);
  });
});
