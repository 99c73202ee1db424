// Whether a message can be answered at all, before any work is done for it: by the tokens of the model that will answer.
import type { Catalog } from '../contracts/catalog.ts';
import { AppError } from '../contracts/errors.ts';
import type { PromptEncoder } from '../contracts/prompt-encoder.ts';
import { promptRoom } from '../policy/prompt-room.ts';

export interface MessageSize {
  readonly content: string;
  /** The conversation's own, else the operator's. */
  readonly systemPrompt: string;
  /** Of the reply. */
  readonly maxTokens: number;
}

/** Of markers, roles and line ends of two messages and the opening of a third, in every template we have; generous. */
const TEMPLATE_TOKENS = 32;

/**
 * Counts the message.
 * @returns its tokens alone
 * @throws AppError CONTEXT_LENGTH_EXCEEDED with both numbers when it does not fit, alone or behind the system prompt
 */
export async function measureMessage(
  encoder: PromptEncoder,
  pool: Catalog['pools'][string],
  { content, systemPrompt, maxTokens }: MessageSize,
): Promise<number> {
  const room = promptRoom(pool.context_length, maxTokens);
  const numTokens = await encoder.countTokens(content);
  if (numTokens > room) throw tooLong(`The message is ${numTokens} tokens`, room, pool, maxTokens);
  // A token is a byte at least: what is short in bytes fits, whatever its tokens are.
  if (numTokens + Buffer.byteLength(systemPrompt) + TEMPLATE_TOKENS <= room) return numTokens;
  const numSystem = await encoder.countTokens(systemPrompt);
  if (numTokens + numSystem + TEMPLATE_TOKENS <= room) return numTokens;
  const system = systemPrompt === '' ? [] : [{ role: 'system' as const, content: systemPrompt }];
  const whole = encoder.encodePrompt([...system, { role: 'user', content }]).length;
  if (whole > room) {
    const what = `The message is ${numTokens} tokens, ${whole} with the system prompt`;
    throw tooLong(what, room, pool, maxTokens);
  }
  return numTokens;
}

function tooLong(
  what: string,
  room: number,
  { context_length: contextLength }: Catalog['pools'][string],
  maxTokens: number,
): AppError {
  return new AppError('CONTEXT_LENGTH_EXCEEDED', {
    message: `${what}; at most ${room} fit beside a reply of ${maxTokens}, in a context of ${contextLength}.`,
    param: 'content',
  });
}
