// The OpenAPI 3.1 document, made from the route table and the schemas that parse the requests.
import { z } from 'zod';
import { errorBody } from '../contracts/api.ts';
import { ROUTES } from './route-table.ts';
import type { RouteRow } from './route-table.ts';

let made: object | null = null;

export function openApiDocument(): object {
  made ??= {
    openapi: '3.1.0',
    info: {
      title: 'Colloquy',
      version: '1',
      description: 'Durable chat turns over server-sent events.',
      license: { name: 'Apache-2.0' },
    },
    components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } },
    paths: paths(),
  };
  return made;
}

function paths(): Record<string, Record<string, object>> {
  const all: Record<string, Record<string, object>> = {};
  for (const route of ROUTES) {
    const path = route.path.replace(/:(\w+)/g, '{$1}');
    all[path] = { ...all[path], [route.method]: operation(route) };
  }
  return all;
}

function operation(route: RouteRow): object {
  const content = {
    ...(route.response === undefined
      ? {}
      : { 'application/json': { schema: schemaOf(route.response, 'output') } }),
    ...(route.isStream === true ? { 'text/event-stream': { schema: { type: 'string' } } } : {}),
  };
  return {
    summary: route.summary,
    ...(route.needsToken ? { security: [{ bearer: [] }] } : {}),
    parameters: parametersOf(route),
    ...(route.body === undefined
      ? {}
      : {
          requestBody: {
            required: route.isBodyOptional !== true,
            content: { 'application/json': { schema: schemaOf(route.body, 'input') } },
          },
        }),
    responses: {
      [route.status]: {
        description: 'Success',
        ...(Object.keys(content).length === 0 ? {} : { content }),
      },
      ...(route.needsToken
        ? {
            default: {
              description: 'Refused',
              content: { 'application/json': { schema: schemaOf(errorBody, 'output') } },
            },
          }
        : {}),
    },
  };
}

function parametersOf(route: RouteRow): object[] {
  const inPath = [...route.path.matchAll(/:(\w+)/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string', format: 'uuid' },
  }));
  const query =
    route.query === undefined
      ? {}
      : ((schemaOf(route.query, 'input') as { properties?: Record<string, object> }).properties ??
        {});
  const inQuery = Object.entries(query).map(([name, schema]) => ({
    name,
    in: 'query',
    required: false,
    schema,
  }));
  const headers =
    route.isStream === true
      ? [
          {
            name: route.method === 'get' ? 'Last-Event-ID' : 'Idempotency-Key',
            in: 'header',
            required: false,
            schema: { type: 'string' },
          },
        ]
      : [];
  return [...inPath, ...inQuery, ...headers];
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): object {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return rest;
}
