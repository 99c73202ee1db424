// The error table: every code that leaves a process, with its HTTP status and whether a retry can help.
// Codes are UPPER_SNAKE in code and lower snake_case on the wire. Compare `code`, never `instanceof`.

interface ErrorRow {
  readonly httpStatus: number;
  readonly retryable: boolean;
  readonly publicMessage: string;
}

export const ERROR_TABLE = Object.freeze({
  INVALID_REQUEST: row(400, false, 'The request is not valid.'),
  INVALID_JSON: row(400, false, 'The body is not valid JSON.'),
  INVALID_LAST_EVENT_ID: row(400, false, 'Last-Event-ID is not an entry of this stream.'),
  CONTEXT_LENGTH_EXCEEDED: row(400, false, 'The message does not fit the model’s context.'),
  UNAUTHENTICATED: row(401, false, 'A valid bearer token is required.'),
  FORBIDDEN: row(403, false, 'Your tier or role does not allow this.'),
  CONVERSATION_NOT_FOUND: row(404, false, 'There is no such conversation.'),
  TURN_NOT_FOUND: row(404, false, 'There is no such turn.'),
  USER_NOT_FOUND: row(404, false, 'There is no such user.'),
  ROUTE_NOT_FOUND: row(404, false, 'There is no such route.'),
  METHOD_NOT_ALLOWED: row(405, false, 'This route does not take that method.'),
  NOT_ACCEPTABLE: row(406, false, 'This route answers text/event-stream or application/json.'),
  TURN_CONFLICT: row(409, false, 'A turn is already running in this conversation.'),
  IDEMPOTENCY_CONFLICT: row(409, false, 'This Idempotency-Key was used with another request.'),
  PAYLOAD_TOO_LARGE: row(413, false, 'The body is too large.'),
  UNSUPPORTED_MEDIA_TYPE: row(415, false, 'The body must be application/json in UTF-8.'),
  RATE_LIMITED: row(429, true, 'The rate limit is reached.'),
  HEADERS_TOO_LARGE: row(431, false, 'The request headers are too large.'),
  OVERLOADED: row(503, true, 'The service is at capacity.'),
  STORAGE_UNAVAILABLE: row(503, true, 'The store does not answer.'),
  STREAM_UNAVAILABLE: row(503, true, 'The stream service does not answer.'),
  WORKFLOW_UNAVAILABLE: row(503, true, 'The workflow service does not answer.'),
  GENERATION_TIMEOUT: row(504, true, 'The model took too long.'),
  GENERATION_FAILED: row(500, true, 'The model failed to answer.'),
  INVARIANT_VIOLATED: row(500, false, 'An internal invariant was broken.'),
  INTERNAL: row(500, false, 'Something went wrong.'),
  // Internal to the turn path, never shown: what the turn log or a fenced attempt answers.
  FENCED: row(500, false, 'A later attempt owns this turn.'),
  TURN_LOG_LOST: row(500, true, 'The turn log is gone before its turn was stored.'),
  TURN_DELETED: row(404, false, 'The conversation was deleted while its turn ran.'),
} satisfies Record<string, ErrorRow>);

export type ErrorCode = keyof typeof ERROR_TABLE;

function row(httpStatus: number, retryable: boolean, publicMessage: string): ErrorRow {
  return Object.freeze({ httpStatus, retryable, publicMessage });
}

export interface AppErrorOptions {
  /** What is wrong in words the caller may read: what happened, what was received, what was expected. Never prompt text or secrets. */
  readonly message?: string;
  /** The name of the request field at fault. */
  readonly param?: string;
  /** Seconds after which a retry may succeed. */
  readonly retryAfterSeconds?: number;
  readonly cause?: unknown;
}

/** The one error class of this code base. Its message is fit for the caller; the cause is for the log. */
export class AppError extends Error {
  override readonly name = 'AppError';
  readonly code: ErrorCode;
  readonly param: string | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ErrorCode, options: AppErrorOptions = {}) {
    super(options.message ?? ERROR_TABLE[code].publicMessage, { cause: options.cause });
    this.code = code;
    this.param = options.param;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

/** The code of any thrown value; unknown ones are INTERNAL. Works across realms and Temporal's re-made errors. */
export function codeOf(error: unknown): ErrorCode {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && code in ERROR_TABLE ? (code as ErrorCode) : 'INTERNAL';
}

/** `TURN_NOT_FOUND` → `turn_not_found`, the form on the wire. */
export function wireCode(code: ErrorCode): string {
  return code.toLowerCase();
}

/** The JSON body of a refused request, design §3. */
export interface ErrorBody {
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly param?: string;
    readonly retry_after?: number;
    /** With `turn_conflict`: the running turn. */
    readonly turn_id?: string;
  };
}
