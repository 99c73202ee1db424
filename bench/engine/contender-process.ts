// A peer behind a program of ours (bench/peers/<name>) that stays up and answers one JSON line a run.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Contender } from './contender.ts';
import { promptOf } from './engine-run.ts';

interface Answer {
  /** From the prompts' arrival to the last sequence's first token, and from there to the last token. */
  readonly prefillSeconds: number;
  readonly decodeSeconds: number;
  readonly residentBytes: number | null;
}

/** @param command the program; its first line is {"about": …}, then it answers {"prompts": [[ids]], "decodeTokens": n} */
export async function processContender(
  name: string,
  command: readonly string[],
): Promise<Contender> {
  const [program = '', ...args] = command;
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => {
    for (;;) {
      const { value, done } = await lines.next();
      if (done === true) throw new Error(`${name} ended`);
      if (value.startsWith('{')) return JSON.parse(value) as unknown;
    }
  };
  const { about } = (await next()) as { about: string };
  return {
    name,
    about,
    run: async ({ numSeqs, promptTokens, decodeTokens }, seed) => {
      const prompts = Array.from({ length: numSeqs }, (_, index) =>
        promptOf(seed * 64 + index, promptTokens),
      );
      child.stdin.write(`${JSON.stringify({ prompts, decodeTokens })}\n`);
      const { prefillSeconds, decodeSeconds, residentBytes } = (await next()) as Answer;
      const tokensPerSecond =
        decodeTokens === 1
          ? (numSeqs * promptTokens) / prefillSeconds
          : (numSeqs * (decodeTokens - 1)) / decodeSeconds;
      return { tokensPerSecond, residentBytes };
    },
    close: async () => {
      child.stdin.end();
      if (child.exitCode === null) await once(child, 'close');
    },
  };
}
