// The public API over fetch: one method a route that the page uses. Knows no state but how to get the bearer token.
import { refusalOf, unreachable } from './api-error.ts';
import type {
  ConversationPage,
  MemoryChange,
  Model,
  RememberedFact,
  Settings,
  TurnPage,
  TurnRequest,
} from './api-types.ts';

const PAGE_SIZE = 30;

export interface PostTurn {
  readonly conversationId: string;
  readonly body: TurnRequest;
  /** The same key at every try: a repeat finds the turn that the first one made. */
  readonly idempotencyKey: string;
}

export interface ResumeTurn {
  readonly conversationId: string;
  readonly turnId: string;
  /** Null reads from the first entry. */
  readonly lastEventId: string | null;
}

/** Every method rejects with an ApiError, or with the signal's AbortError. */
export interface ApiClient {
  models(): Promise<readonly Model[]>;
  conversations(before: string | null): Promise<ConversationPage>;
  conversation(id: string, before: string | null): Promise<TurnPage>;
  createConversation(model: string | null): Promise<string>;
  renameConversation(id: string, title: string): Promise<void>;
  /** The conversation goes on with the branch through a turn, wherever it is opened next. */
  chooseBranch(id: string, turnId: string): Promise<void>;
  deleteConversation(id: string): Promise<void>;
  memory(): Promise<readonly RememberedFact[]>;
  /** What is remembered afterwards. */
  changeMemory(change: MemoryChange): Promise<readonly RememberedFact[]>;
  forgetMemory(): Promise<void>;
  settings(): Promise<Settings>;
  changeSettings(change: Partial<Settings>): Promise<Settings>;
  cancel(conversationId: string, turnId: string | null): Promise<void>;
  /** A stream of events; its body is the caller's to read or cancel. */
  postTurn(turn: PostTurn, signal: AbortSignal): Promise<ReadableStream<Uint8Array>>;
  resumeTurn(turn: ResumeTurn, signal: AbortSignal): Promise<ReadableStream<Uint8Array>>;
}

/** @param token read at each request: it may change */
export function createApiClient(token: () => string, fetchImpl: typeof fetch = fetch): ApiClient {
  const request = async (
    method: string,
    path: string,
    init: RequestInit = {},
  ): Promise<Response> => {
    const headers = { Authorization: `Bearer ${token()}`, ...init.headers };
    let response: Response;
    try {
      response = await fetchImpl(path, { ...init, method, headers, credentials: 'omit' });
    } catch (error) {
      throw isAbort(error) ? error : unreachable(error);
    }
    if (!response.ok) throw await refusalOf(response);
    return response;
  };
  const json = (body: unknown): RequestInit => ({
    body: JSON.stringify(body),
    headers: { 'Content-Type': 'application/json' },
  });
  const read = async <Body>(method: string, path: string, init?: RequestInit): Promise<Body> => {
    const response = await request(method, path, init);
    return (await response.json().catch((error: unknown) => {
      throw unreachable(error);
    })) as Body;
  };
  const stream = async (
    method: string,
    path: string,
    init: RequestInit,
  ): Promise<ReadableStream<Uint8Array>> => {
    const headers = { ...init.headers, Accept: 'text/event-stream' };
    const { body } = await request(method, path, { ...init, headers });
    if (body === null) throw unreachable(new Error('The answer has no body.'));
    return body;
  };
  const memory = '/v1/users/me/memory';
  const settings = '/v1/users/me/settings';
  const factsOf = async (method: string, init?: RequestInit): Promise<readonly RememberedFact[]> =>
    (await read<{ facts: RememberedFact[] }>(method, memory, init)).facts;
  const at = (id: string, rest = ''): string =>
    `/v1/conversations/${encodeURIComponent(id)}${rest}`;

  return {
    models: async () => (await read<{ models: Model[] }>('GET', '/v1/models')).models,
    conversations: (before) => read('GET', `/v1/conversations?${query(before)}`),
    conversation: (id, before) => read('GET', at(id, `?${query(before)}`)),
    createConversation: async (model) => {
      const made = await read<{ conversation_id: string }>(
        'POST',
        '/v1/conversations',
        json(model === null ? {} : { model }),
      );
      return made.conversation_id;
    },
    renameConversation: async (id, title) => void (await request('PATCH', at(id), json({ title }))),
    chooseBranch: async (id, turnId) =>
      void (await request('PATCH', at(id), json({ active_turn_id: turnId }))),
    deleteConversation: async (id) => void (await request('DELETE', at(id))),
    memory: () => factsOf('GET'),
    changeMemory: (change) => factsOf('PATCH', json(change)),
    forgetMemory: async () => void (await request('DELETE', memory)),
    settings: () => read('GET', settings),
    changeSettings: (change) => read('PATCH', settings, json(change)),
    cancel: async (id, turnId) =>
      void (await request(
        'POST',
        at(id, '/cancel'),
        json(turnId === null ? {} : { turn_id: turnId }),
      )),
    postTurn: ({ conversationId, body, idempotencyKey }, signal) => {
      const { headers, ...init } = json(body);
      return stream('POST', at(conversationId, '/turns'), {
        ...init,
        headers: { ...headers, 'Idempotency-Key': idempotencyKey },
        signal,
      });
    },
    resumeTurn: ({ conversationId, turnId, lastEventId }, signal) =>
      stream('GET', at(conversationId, `/turns/${encodeURIComponent(turnId)}/stream`), {
        headers: lastEventId === null ? {} : { 'Last-Event-ID': lastEventId },
        signal,
      }),
  };
}

/** True for the rejection of an aborted request. */
export function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}

function query(before: string | null): string {
  return new URLSearchParams({
    limit: String(PAGE_SIZE),
    ...(before === null ? {} : { before }),
  }).toString();
}
