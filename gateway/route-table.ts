// Every route of the public API in one table: the OpenAPI document, the 405 answers and the error-table test read it.
import type { z } from 'zod';
import * as api from '../contracts/api.ts';

export interface RouteRow {
  readonly method: 'get' | 'post' | 'patch' | 'delete';
  /** As express writes it: `:id`. */
  readonly path: string;
  readonly summary: string;
  readonly body?: z.ZodType;
  /** The body may be left out. */
  readonly isBodyOptional?: boolean;
  readonly query?: z.ZodType;
  readonly status: number;
  readonly response?: z.ZodType;
  /** Also answers text/event-stream. */
  readonly isStream?: boolean;
  readonly needsToken: boolean;
}

export const ROUTES: readonly RouteRow[] = Object.freeze([
  {
    method: 'post',
    path: '/v1/conversations',
    summary: 'Make a conversation',
    body: api.createConversationBody,
    status: 201,
    response: api.createdConversation,
    needsToken: true,
  },
  {
    method: 'get',
    path: '/v1/conversations',
    summary: 'List conversations, newest first',
    query: api.listQuery,
    status: 200,
    response: api.conversationList,
    needsToken: true,
  },
  {
    method: 'get',
    path: '/v1/conversations/:id',
    summary: 'Read a conversation, newest page of turns first',
    query: api.listQuery,
    status: 200,
    response: api.conversationPage,
    needsToken: true,
  },
  {
    method: 'patch',
    path: '/v1/conversations/:id',
    summary: 'Rename, archive or switch a conversation, or choose its branch',
    body: api.changeConversationBody,
    status: 200,
    response: api.changedConversation,
    needsToken: true,
  },
  {
    method: 'delete',
    path: '/v1/conversations/:id',
    summary: 'Delete a conversation and all that came of it',
    status: 204,
    needsToken: true,
  },
  {
    method: 'post',
    path: '/v1/conversations/:id/turns',
    summary: 'Take a turn; streams its events',
    body: api.turnBody,
    status: 200,
    response: api.turnReply,
    isStream: true,
    needsToken: true,
  },
  {
    method: 'get',
    path: '/v1/conversations/:id/turns/:turn/stream',
    summary: 'Resume a turn’s events after Last-Event-ID',
    status: 200,
    isStream: true,
    needsToken: true,
  },
  {
    method: 'get',
    path: '/v1/conversations/:id/turns/:turn/prompt',
    summary: 'Show what a reply was an answer to: the assembled prompt',
    query: api.noQuery,
    status: 200,
    response: api.turnPrompt,
    needsToken: true,
  },
  {
    method: 'post',
    path: '/v1/conversations/:id/cancel',
    summary: 'Cancel one turn, or all that run',
    body: api.cancelBody,
    isBodyOptional: true,
    status: 204,
    needsToken: true,
  },
  {
    method: 'get',
    path: '/v1/users/:user/memory',
    summary: 'Read remembered facts',
    status: 200,
    response: api.memoryFacts,
    needsToken: true,
  },
  {
    method: 'patch',
    path: '/v1/users/:user/memory',
    summary: 'Add, edit and remove facts',
    body: api.changeMemoryBody,
    status: 200,
    response: api.memoryFacts,
    needsToken: true,
  },
  {
    method: 'delete',
    path: '/v1/users/:user/memory',
    summary: 'Forget every fact',
    status: 204,
    needsToken: true,
  },
  {
    method: 'get',
    path: '/v1/users/:user/settings',
    summary: 'Read what is switched on for all conversations',
    status: 200,
    response: api.userSettings,
    needsToken: true,
  },
  {
    method: 'patch',
    path: '/v1/users/:user/settings',
    summary: 'Switch memory, and what new conversations begin with',
    body: api.changeSettingsBody,
    status: 200,
    response: api.userSettings,
    needsToken: true,
  },
  {
    method: 'get',
    path: '/v1/users/:user/export',
    summary: 'Everything that is kept of a user, as one JSON object',
    query: api.noQuery,
    status: 200,
    response: api.userExport,
    needsToken: true,
  },
  {
    method: 'delete',
    path: '/v1/users/:user',
    summary: 'Delete an account and all that came of it',
    status: 202,
    response: api.userErasure,
    needsToken: true,
  },
  {
    method: 'get',
    path: '/v1/models',
    summary: 'Models the caller may use',
    status: 200,
    response: api.modelList,
    needsToken: true,
  },
  {
    method: 'get',
    path: '/v1/usage',
    summary: 'Tokens and cost of the caller',
    status: 200,
    response: api.usageReport,
    needsToken: true,
  },
  { method: 'get', path: '/healthz', summary: 'Liveness', status: 200, needsToken: false },
  { method: 'get', path: '/readyz', summary: 'Readiness', status: 200, needsToken: false },
  {
    method: 'get',
    path: '/metrics',
    summary: 'Prometheus metrics',
    status: 200,
    needsToken: false,
  },
  {
    method: 'get',
    path: '/openapi.json',
    summary: 'This document',
    status: 200,
    needsToken: false,
  },
]);
