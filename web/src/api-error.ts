// A request that the service answered with a refusal, or that never reached it.

export interface ApiErrorFields {
  /** HTTP status; 0 when there was no answer. */
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly retryAfterSeconds: number | null;
  /** With `turn_conflict`: the running turn. */
  readonly turnId: string | null;
}

export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  readonly code: string;
  readonly retryAfterSeconds: number | null;
  readonly turnId: string | null;

  constructor(fields: ApiErrorFields, options?: ErrorOptions) {
    super(fields.message, options);
    this.status = fields.status;
    this.code = fields.code;
    this.retryAfterSeconds = fields.retryAfterSeconds;
    this.turnId = fields.turnId;
  }

  /** No answer at all: the network, or a service that is restarting. */
  get isUnreachable(): boolean {
    return this.status === 0;
  }

  /** A later try of the same request may succeed. */
  get isTemporary(): boolean {
    return this.status === 429 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

/** The error behind an answer that is not 2xx; a body that is not ours (a proxy's page) gives a plain one. */
export async function refusalOf(response: Response): Promise<ApiError> {
  const text = await response.text().catch(() => '');
  const error = errorFields(text);
  const retryAfter = error['retry_after'] ?? Number(response.headers.get('Retry-After') ?? NaN);
  return new ApiError({
    status: response.status,
    code: typeof error['code'] === 'string' ? error['code'] : `http_${response.status}`,
    message:
      typeof error['message'] === 'string'
        ? error['message']
        : `The service answered ${response.status}.`,
    retryAfterSeconds:
      typeof retryAfter === 'number' && Number.isFinite(retryAfter) ? retryAfter : null,
    turnId: typeof error['turn_id'] === 'string' ? error['turn_id'] : null,
  });
}

/** The error of a request without an answer. */
export function unreachable(cause: unknown): ApiError {
  return new ApiError(
    {
      status: 0,
      code: 'unreachable',
      message: 'The service cannot be reached.',
      retryAfterSeconds: null,
      turnId: null,
    },
    { cause },
  );
}

function errorFields(text: string): Record<string, unknown> {
  try {
    const body: unknown = JSON.parse(text);
    const error = typeof body === 'object' && body !== null && 'error' in body ? body.error : null;
    return typeof error === 'object' && error !== null ? { ...error } : {};
  } catch {
    return {};
  }
}
