// One JSON request of a chaos client, which expects anything.
import type { Caller } from './turn-client.ts';

export interface Answer {
  /** 0 without an answer. */
  readonly status: number;
  readonly json: Record<string, unknown>;
  readonly code?: string;
}

/** The answer says that nothing was done; every other one without success leaves that open. */
export function isRefusal({ status, code }: Pick<Answer, 'status' | 'code'>): boolean {
  return (status === 409 && code === 'turn_conflict') || status === 429;
}

/** Status 0 when no whole answer came in time; never an exception. */
export async function ask(
  { gateway, token }: Caller,
  method: string,
  path: string,
  options: { body?: object; headers?: Record<string, string>; timeoutMs: number },
): Promise<Answer> {
  try {
    const response = await fetch(`${gateway}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        ...options.headers,
      },
      ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
      signal: AbortSignal.timeout(options.timeoutMs),
    });
    const text = await response.text();
    const code = codeIn(text);
    return {
      status: response.status,
      json: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>),
      ...(code === undefined ? {} : { code }),
    };
  } catch {
    return { status: 0, json: {} };
  }
}

/** The code of an error body, design §3. */
export function codeIn(text: string): string | undefined {
  try {
    return (JSON.parse(text) as { error?: { code?: string } }).error?.code;
  } catch {
    return undefined;
  }
}
