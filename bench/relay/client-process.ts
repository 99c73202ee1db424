// Process: sends prepared requests, so many at a time, reads each answer to its end and counts the text that came.
import { Agent, request } from 'node:http';
import { Histogram } from '../histogram.ts';
import type { HistogramData } from '../histogram.ts';
import type { RelayRequest } from './contender.ts';

export interface ClientTask {
  readonly requests: readonly RelayRequest[];
  readonly inFlight: number;
}

/** Sent when each of the first requests has had a token (`flowing`), and when the first of them has ended (`ending`). */
export interface ClientPhase {
  readonly phase: 'flowing' | 'ending';
  /** Tokens so far. */
  readonly tokens: number;
}

export interface ClientReport {
  readonly seconds: number;
  /** Tokens and CPU are counted between these as well: every stream flows, none has ended. */
  readonly phase?: undefined;
  readonly answers: number;
  readonly failures: number;
  /** Occurrences of the upstream's token in what came. */
  readonly tokens: number;
  readonly firstTokenMs: HistogramData;
  readonly doneMs: HistogramData;
}

const agent = new Agent({ keepAlive: true, maxSockets: 1024 });

function send(
  asked: RelayRequest,
  firstTokenMs: Histogram,
  doneMs: Histogram,
  onTokens: (count: number) => void,
): Promise<{ isOk: boolean; tokens: number }> {
  const begun = performance.now();
  return new Promise((resolve) => {
    let [tokens, rest] = [0, ''];
    const sent = request(asked.url, { method: 'POST', agent, headers: asked.headers }, (answer) => {
      answer.setEncoding('latin1');
      answer.on('data', (chunk: string) => {
        const text = rest + chunk;
        const found = text.split('and').length - 1;
        if (found > 0 && tokens === 0) firstTokenMs.add(performance.now() - begun);
        tokens += found;
        if (found > 0) onTokens(found);
        // A token may be cut between chunks; one that was counted is not kept.
        rest = text.slice(Math.max(text.lastIndexOf('and') + 3, text.length - 2));
      });
      answer.on('end', () => {
        doneMs.add(performance.now() - begun);
        resolve({ isOk: answer.statusCode === 200, tokens });
      });
      answer.on('error', () => resolve({ isOk: false, tokens }));
    });
    sent.on('error', () => resolve({ isOk: false, tokens: 0 }));
    sent.end(asked.body);
  });
}

async function work({ requests, inFlight }: ClientTask): Promise<ClientReport> {
  const [firstTokenMs, doneMs] = [new Histogram(), new Histogram()];
  let [next, answers, failures, tokens] = [0, 0, 0, 0];
  let [flowing, hasEnded] = [0, false];
  const say = (phase: ClientPhase['phase']): void => {
    process.send?.({ phase, tokens } satisfies ClientPhase);
  };
  const begun = performance.now();
  const one = async (): Promise<void> => {
    for (let asked = requests[next++]; asked !== undefined; asked = requests[next++]) {
      let hasToken = false;
      const result = await send(asked, firstTokenMs, doneMs, (count) => {
        tokens += count;
        if (hasToken) return;
        hasToken = true;
        flowing += 1;
        if (flowing === inFlight && !hasEnded) say('flowing');
      });
      if (!hasEnded) say('ending');
      hasEnded = true;
      if (result.isOk) answers += 1;
      else failures += 1;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, one));
  return {
    seconds: (performance.now() - begun) / 1000,
    answers,
    failures,
    tokens,
    firstTokenMs: firstTokenMs.data(),
    doneMs: doneMs.data(),
  };
}

process.on('message', (task: ClientTask) => void work(task).then((said) => process.send?.(said)));
process.once('disconnect', () => process.exit(0));
