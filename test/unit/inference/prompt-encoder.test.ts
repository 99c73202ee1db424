import { createPromptEncoder } from '../../../inference/prompt-encoder.ts';
import { byteVocabulary, END_ID, START_ID } from '../../helpers/byte-vocabulary.ts';

const MESSAGES = [{ role: 'user' as const, content: 'hi' }];

describe('createPromptEncoder', () => {
  it('renders the template where the pool takes token ids', () => {
    const ids = createPromptEncoder(byteVocabulary(), false).encodePrompt(MESSAGES);
    expect(ids.filter((id) => id === START_ID)).toHaveLength(2);
    expect(String.fromCharCode(...ids.slice(-10))).toBe('assistant\n');
  });

  it('codes the messages where the pool’s server takes those', () => {
    const ids = createPromptEncoder(byteVocabulary(), true).encodePrompt(MESSAGES);
    expect(ids).toEqual([START_ID, ...Buffer.from('user\nhi'), END_ID]);
  });

  it('counts a long text in pieces, and lets others work between them', async () => {
    const text = 'word '.repeat(20_000);
    let numTurns = 0;
    let isCounting = true;
    const others = async (): Promise<void> => {
      while (isCounting) {
        numTurns += 1;
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const working = others();
    expect(await createPromptEncoder(byteVocabulary(), false).countTokens(text)).toBe(text.length);
    isCounting = false;
    await working;
    expect(numTurns).toBeGreaterThan(4);
  });
});
