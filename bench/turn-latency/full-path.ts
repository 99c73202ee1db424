// Runs real turns over HTTP against a running system, and reads what its processes say of their stages.
import { request } from 'node:http';
import { createParser } from 'eventsource-parser';

export interface System {
  readonly gateway: string;
  readonly token: string;
  readonly metricsUrls: readonly string[];
}

export interface FullTurn {
  /** POST sent → first token event parsed. */
  readonly firstTokenMs: number;
  /** POST sent → done. */
  readonly doneMs: number;
}

/** The id of a new conversation. */
export async function newConversation(system: System): Promise<string> {
  const created = await fetch(`${system.gateway}/v1/conversations`, {
    method: 'POST',
    headers: { authorization: `Bearer ${system.token}`, 'content-type': 'application/json' },
    body: '{}',
  });
  return ((await created.json()) as { conversation_id: string }).conversation_id;
}

/** The first turn of a conversation; `maxTokens` bounds the reply. @throws when it does not end with done */
export async function runTurn(
  system: System,
  conversationId: string,
  content: string,
  maxTokens: number,
): Promise<FullTurn> {
  const body = JSON.stringify({ role: 'user', content, max_tokens: maxTokens, temperature: 0 });
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const url = new URL(`${system.gateway}/v1/conversations/${conversationId}/turns`);
    const headers = {
      authorization: `Bearer ${system.token}`,
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      accept: 'text/event-stream',
    };
    const post = request(url, { method: 'POST', headers }, (response) => {
      if (response.statusCode !== 200)
        return reject(new Error(`turn refused: ${response.statusCode}`));
      let firstTokenMs = 0;
      const parser = createParser({
        onEvent: (event) => {
          if (event.event === 'token') firstTokenMs ||= performance.now() - started;
          if (event.event === 'done')
            resolve({ firstTokenMs, doneMs: performance.now() - started });
        },
      });
      response
        .setEncoding('utf8')
        .on('data', (chunk: string) => parser.feed(chunk))
        .on('end', () => reject(new Error('ended without done')));
    });
    post.on('error', reject);
    post.end(body);
  });
}

/** Sum and count of every stage over all processes, as `stage → {sum, count}` in seconds. */
export async function readStages(
  system: System,
): Promise<Map<string, { sum: number; count: number }>> {
  const stages = new Map<string, { sum: number; count: number }>();
  for (const url of system.metricsUrls) {
    const text = await (await fetch(url)).text();
    for (const [, what, stage, value] of text.matchAll(
      /^colloquy_turn_stage_seconds_(sum|count)\{[^}]*stage="(\w+)"[^}]*\} (\S+)$/gm,
    )) {
      if (what === undefined || stage === undefined) continue;
      const each = stages.get(stage) ?? { sum: 0, count: 0 };
      stages.set(stage, { ...each, [what]: each[what as 'sum' | 'count'] + Number(value) });
    }
  }
  return stages;
}
