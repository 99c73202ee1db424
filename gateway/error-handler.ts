// Every failure of a request becomes the contract's error body here, and nowhere else.
import { maxHeaderSize } from 'node:http';
import type { ErrorRequestHandler, Response } from 'express';
import type { Socket } from 'node:net';
import { z } from 'zod';
import { AppError, ERROR_TABLE, wireCode } from '../contracts/errors.ts';
import type { ErrorBody, ErrorCode } from '../contracts/errors.ts';
import type { Logger } from '../process/logger.ts';

/** A conflict that names the turn in the way. */
export class TurnConflict extends AppError {
  readonly turnId: string;

  constructor(turnId: string) {
    super('TURN_CONFLICT');
    this.turnId = turnId;
  }
}

export function createErrorHandler(logger: Logger): ErrorRequestHandler {
  return (thrown: unknown, request, response, _next) => {
    const error = toAppError(thrown);
    const { httpStatus } = ERROR_TABLE[error.code];
    const line = {
      error: thrown,
      code: error.code,
      method: request.method,
      route: (request.route as { path?: string } | undefined)?.path,
    };
    if (httpStatus >= 500) logger.error(line, 'request failed');
    else logger.debug(line, 'request refused');
    if (response.headersSent) {
      // In mid-stream there is no status to change: the reader sees an interrupted stream and resumes.
      response.destroy();
      return;
    }
    sendError(response, error);
  };
}

export function sendError(response: Response, error: AppError): void {
  const body = bodyOf(error);
  const { httpStatus } = ERROR_TABLE[error.code];
  const retryAfter = error.retryAfterSeconds ?? (httpStatus === 503 ? 2 : undefined);
  if (retryAfter !== undefined) response.set('Retry-After', String(retryAfter));
  response.status(httpStatus).json(body);
}

/** For what node:http refuses before there is a request: an oversized header, a broken request line. */
export function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const isHeader = error.code === 'HPE_HEADER_OVERFLOW';
  const failure = new AppError(
    isHeader ? 'HEADERS_TOO_LARGE' : 'INVALID_REQUEST',
    isHeader ? { message: `The request headers are over ${maxHeaderSize} bytes.` } : {},
  );
  const body = JSON.stringify(bodyOf(failure));
  const status = isHeader ? '431 Request Header Fields Too Large' : '400 Bad Request';
  socket.end(
    `HTTP/1.1 ${status}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

function bodyOf(error: AppError): ErrorBody {
  return {
    error: {
      code: wireCode(error.code),
      message: error.message,
      ...(error.param === undefined ? {} : { param: error.param }),
      ...(error.retryAfterSeconds === undefined ? {} : { retry_after: error.retryAfterSeconds }),
      ...(error instanceof TurnConflict ? { turn_id: error.turnId } : {}),
    },
  };
}

function toAppError(thrown: unknown): AppError {
  if (thrown instanceof AppError) return isPublic(thrown.code) ? thrown : new AppError('INTERNAL');
  if (thrown instanceof z.ZodError) return invalid(thrown);
  // What express's own parsers throw has a type.
  const { type, status } = thrown as { type?: string; status?: number };
  if (type === 'entity.too.large') return new AppError('PAYLOAD_TOO_LARGE');
  if (type === 'entity.parse.failed') return new AppError('INVALID_JSON');
  if (
    type === 'encoding.unsupported' ||
    type === 'charset.unsupported' ||
    type === 'entity.verify.failed'
  )
    return new AppError('UNSUPPORTED_MEDIA_TYPE');
  if (typeof status === 'number' && status >= 400 && status < 500)
    return new AppError('INVALID_REQUEST');
  return new AppError('INTERNAL');
}

/** The first problem, by its field; values are not quoted back. */
function invalid(error: z.ZodError): AppError {
  const issue = error.issues[0];
  // Keys of a map are the client's own, however long.
  const path = issue?.path.join('.').slice(0, 100) ?? '';
  const unknown = issue?.code === 'unrecognized_keys' ? issue.keys.join(', ').slice(0, 100) : null;
  const param = unknown ?? path;
  const what =
    unknown === null
      ? `${path === '' ? 'The request' : path}: ${issue?.message ?? 'is not valid'}`
      : `Unknown field: ${unknown}`;
  return new AppError(
    'INVALID_REQUEST',
    param === '' ? { message: what } : { message: what, param },
  );
}

function isPublic(code: ErrorCode): boolean {
  return !['FENCED', 'TURN_LOG_LOST', 'INVARIANT_VIOLATED'].includes(code);
}
