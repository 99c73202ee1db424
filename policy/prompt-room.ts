// How much of a context a prompt may take. Pure.

/**
 * History may not squeeze the reply below what was asked for, nor the reply take more than half of the context from it.
 * @param contextLength tokens of prompt + reply
 * @param maxTokens of the reply
 */
export function promptRoom(contextLength: number, maxTokens: number): number {
  return contextLength - Math.min(maxTokens, Math.floor(contextLength / 2));
}
