// From the engine's logprobs of a token to what the log keeps of them.
import type { ServedModel, TokenLogprobs } from '../contracts/engine.ts';
import type { LoggedLogprob } from '../contracts/logprobs.ts';

/** What stands for no probability at all, which JSON has no number for. As in OpenAI's API. */
const NEVER = -9999;

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

export function loggedLogprobs(
  model: Pick<ServedModel, 'tokenBytes'>,
  tokenId: number,
  { logprob, top }: TokenLogprobs,
): LoggedLogprob {
  const scored = (id: number, value: number): [string, number, number[] | null] => {
    const bytes = model.tokenBytes(id);
    const token = decoder.decode(bytes);
    const isText = Buffer.from(token).equals(bytes);
    return [token, rounded(value), isText ? null : [...bytes]];
  };
  return [...scored(tokenId, logprob), top.map((each) => scored(each.tokenId, each.logprob))];
}

/** A 32-bit number has no more digits than these to tell; and JSON has no -0. */
function rounded(logprob: number): number {
  return Number.isFinite(logprob) ? Number(logprob.toFixed(6)) + 0 : NEVER;
}
