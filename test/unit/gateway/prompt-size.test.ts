import type { Catalog } from '../../../contracts/catalog.ts';
import { createPromptEncoder } from '../../../inference/prompt-encoder.ts';
import { measureMessage } from '../../../gateway/prompt-size.ts';
import { byteVocabulary } from '../../helpers/byte-vocabulary.ts';

const encoder = createPromptEncoder(byteVocabulary(), false);
const pool = { context_length: 1000 } as Catalog['pools'][string];
const size = (content: string, systemPrompt = '', maxTokens = 100): Promise<number> =>
  measureMessage(encoder, pool, { content, systemPrompt, maxTokens });

describe('measureMessage', () => {
  it('counts what fits', async () => {
    expect(await size('hello', 'Be kind.')).toBe(5);
  });

  it('lets pass exactly what the worker’s prompt has room for', async () => {
    const system = 'Be kind.';
    const overhead = encoder.encodePrompt([
      { role: 'system', content: system },
      { role: 'user', content: '' },
    ]).length;
    const most = 900 - overhead;
    expect(await size('x'.repeat(most), system)).toBe(most);
    await expect(size('x'.repeat(most + 1), system)).rejects.toMatchObject({
      code: 'CONTEXT_LENGTH_EXCEEDED',
      message: `The message is ${most + 1} tokens, 901 with the system prompt; at most 900 fit beside a reply of 100, in a context of 1000.`,
    });
  });

  it('leaves the reply half of the context at most', async () => {
    await expect(size('x'.repeat(501), '', 5000)).rejects.toMatchObject({
      message:
        'The message is 501 tokens; at most 500 fit beside a reply of 5000, in a context of 1000.',
    });
  });
});
