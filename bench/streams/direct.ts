// Bar 10: a reply of 400 tokens through Redis and the gateway, beside the engine's own stream in a process of its own; one
// after the other, the same prompts, and the same text on both sides or it is no comparison.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { projectPath } from '../../process/paths.ts';
import type { Report } from '../engine/report.ts';
import type { RunningSystem } from '../running-system.ts';
import { spread } from '../statistics.ts';
import type { DirectReply, DirectTask } from './direct-engine.ts';
import { followTurn } from './followed-turn.ts';

export async function runDirect(
  system: RunningSystem,
  report: Report,
  { pairs, tokens }: { pairs: number; tokens: number },
): Promise<void> {
  const engine = fork(projectPath('dist', 'bench', 'streams', 'direct-engine.js'), [
    system.home,
    'default',
  ]);
  await once(engine, 'message');
  const alone = async (task: DirectTask): Promise<DirectReply> => {
    const answer = once(engine, 'message');
    engine.send(task);
    return ((await answer) as [DirectReply])[0];
  };
  const samples = { stream: [] as number[], whole: [] as number[], added: [] as number[] };
  for (let pair = -1; pair < pairs; pair += 1) {
    const content = `Write a very long story about ship number ${pair + 2} and all its sailors.`;
    const one = await alone({ content, maxTokens: tokens });
    const other = await followTurn(system, content, tokens);
    if (one.text !== other.text)
      throw new Error(`pair ${pair}: the two sides wrote different texts`);
    if (pair < 0) continue; // Both sides are warm now.
    samples.stream.push(other.streamMs / one.streamMs);
    samples.whole.push(other.wholeMs / one.wholeMs);
    samples.added.push(other.wholeMs - one.wholeMs);
    const rounded = ({ tokens: count, streamMs, wholeMs }: DirectReply): object => ({
      tokens: count,
      streamMs: Math.round(streamMs),
      wholeMs: Math.round(wholeMs),
    });
    report.line({ measure: 'direct', pair, engine: rounded(one), service: rounded(other) });
  }
  engine.disconnect();
  const findings = {
    streamRatio: spread(samples.stream),
    wholeRatio: spread(samples.whole),
    addedMs: spread(samples.added),
  };
  report.line({ measure: 'direct', tokens, pairs, ...findings });
  report.table([
    [`${tokens} tokens`, 'median', 'least', 'greatest'],
    ...Object.entries(findings).map(([name, each]) => [name, each.median, each.min, each.max]),
  ]);
}
