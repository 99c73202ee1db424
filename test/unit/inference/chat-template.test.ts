import { chatTemplateOf } from '../../../inference/chat-template.ts';
import { markerTokenizer } from '../../helpers/marker-tokenizer.ts';

const chatMl = markerTokenizer({ '[': '<|im_start|>', ']': '<|im_end|>' });
const gemma = markerTokenizer({ '^': '<bos>', '[': '<start_of_turn>', ']': '<end_of_turn>' });
const llama3 = markerTokenizer({
  '^': '<|begin_of_text|>',
  '(': '<|start_header_id|>',
  ')': '<|end_header_id|>',
  ']': '<|eot_id|>',
});
const hello = [{ role: 'user', content: 'Hello' }] as const;

describe('chatTemplateOf', () => {
  it.each([
    [
      'llama',
      'Smollm2 135M',
      '[system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face]\n',
    ],
    ['llama', 'another', ''],
    ['qwen2', 'Qwen2 0.5B Instruct', '[system\nYou are a helpful assistant.]\n'],
    [
      'qwen2',
      'Qwen2.5 0.5B Instruct',
      '[system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.]\n',
    ],
    ['qwen3', 'Qwen3 0.6B', ''],
  ])('gives a %s named %s the system prompt of its family', (architecture, name, system) => {
    const template = chatTemplateOf({ architecture, name }, chatMl);
    expect(chatMl.read(template.render(hello))).toBe(`${system}[user\nHello]\n[assistant\n`);
  });

  it('knows gemma and llama 3 by the markers in their vocabularies', () => {
    const forGemma = chatTemplateOf({ architecture: 'gemma3', name: 'g' }, gemma);
    expect(gemma.read(forGemma.render(hello))).toBe('^[user\nHello]\n[model\n');
    const forLlama = chatTemplateOf({ architecture: 'llama', name: 'l' }, llama3);
    expect(llama3.read(forLlama.render(hello))).toBe('^(user)\n\nHello](assistant)\n\n');
  });

  it('refuses a vocabulary without markers', () => {
    expect(() => chatTemplateOf({ architecture: 'llama', name: 'l' }, markerTokenizer({}))).toThrow(
      expect.objectContaining({ code: 'INVALID_REQUEST' }),
    );
  });
});
