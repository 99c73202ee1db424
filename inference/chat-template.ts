// Which chat template a model gets: by the markers in its vocabulary, and by what its family does without a system
// prompt. The template text in a model file is not read.
import { AppError } from '../contracts/errors.ts';
import { ChatMlTemplate } from './templates/chat-ml.ts';
import type { ChatMlHabits } from './templates/chat-ml.ts';
import { GemmaTemplate } from './templates/gemma.ts';
import { Llama3Template } from './templates/llama3.ts';
import type { ChatTemplate, TemplateTokenizer } from './templates/template.ts';

/** What a model file says of itself. */
export interface ModelFamily {
  readonly architecture: string;
  readonly name: string;
}

/** @throws AppError INVALID_REQUEST when the vocabulary has the markers of no template */
export function chatTemplateOf(family: ModelFamily, tokenizer: TemplateTokenizer): ChatTemplate {
  const template =
    ChatMlTemplate.for(tokenizer, habitsOf(family)) ??
    GemmaTemplate.for(tokenizer) ??
    Llama3Template.for(tokenizer);
  if (template === null) {
    throw new AppError('INVALID_REQUEST', {
      message: 'the model’s vocabulary has no markers of ChatML, of gemma’s or of llama 3’s turns',
    });
  }
  return template;
}

function habitsOf({ architecture, name }: ModelFamily): ChatMlHabits {
  const dropsThoughts = architecture === 'qwen3';
  return { defaultSystem: defaultSystemOf(architecture, name), dropsThoughts };
}

function defaultSystemOf(architecture: string, name: string): string | null {
  if (architecture === 'qwen2') {
    return /qwen[ _-]?2\.5/iu.test(name)
      ? 'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.'
      : 'You are a helpful assistant.';
  }
  if (/smollm/iu.test(name))
    return 'You are a helpful AI assistant named SmolLM, trained by Hugging Face';
  return null;
}
