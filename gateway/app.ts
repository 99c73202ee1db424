// The express app from its dependencies. It listens to nothing: server.ts does.
import express from 'express';
import type { Express, RequestHandler } from 'express';
import { AppError } from '../contracts/errors.ts';
import { findPrincipal } from '../postgres/api-keys.ts';
import { createAuthenticator } from './authenticate.ts';
import type { GatewayDeps } from './deps.ts';
import { createErrorHandler } from './error-handler.ts';
import { createPage } from './page.ts';
import { rateLimitsFirst, rateLimitsOfRefusal } from './rate-limit-headers.ts';
import { resumesInTurn } from './resumes-in-turn.ts';
import { ROUTES } from './route-table.ts';
import { addAccountRoutes } from './routes/account.ts';
import { addConversationRoutes } from './routes/conversations.ts';
import { addMemoryRoutes } from './routes/memory.ts';
import { addOperatorRoutes } from './routes/operator.ts';
import { addPersonalDataRoutes } from './routes/personal-data.ts';
import { addTurnRoutes } from './routes/turns.ts';

export function createApp(deps: GatewayDeps): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', 'simple');
  addOperatorRoutes(app, deps);

  const api = express.Router({ caseSensitive: true });
  api.use('/v1', resumesInTurn(deps.streams));
  // Who asks comes before what is asked: a stranger's body is not even read.
  api.use(
    '/v1',
    createAuthenticator((keyHash) => findPrincipal(deps.stores.directory, keyHash)),
  );
  api.use('/v1', rateLimitsFirst(deps));
  api.use(
    '/v1',
    onlyJson,
    express.json({ limit: deps.http.maxBodyBytes, strict: true, type: () => true }),
  );
  addConversationRoutes(api, deps);
  addTurnRoutes(api, deps);
  addAccountRoutes(api, deps);
  addMemoryRoutes(api, deps);
  addPersonalDataRoutes(api, deps);
  api.use(rateLimitsOfRefusal(deps));
  app.use(api);

  app.use(createPage());
  app.use(otherMethods);
  app.use(() => {
    throw new AppError('ROUTE_NOT_FOUND');
  });
  app.use(createErrorHandler(deps.logger));
  return app;
}

/** Bodies are JSON in UTF-8; a request without a body needs no type. */
const onlyJson: RequestHandler = (request, _response, next) => {
  const hasBody =
    request.headers['transfer-encoding'] !== undefined ||
    Number(request.headers['content-length'] ?? 0) > 0;
  if (hasBody && request.is('application/json') === false)
    throw new AppError('UNSUPPORTED_MEDIA_TYPE');
  next();
};

/** A known path with another method: 405, and what it does take. */
const otherMethods: RequestHandler = (request, response, next) => {
  const allowed = ROUTES.filter(({ path }) => matches(path, request.path)).map(({ method }) =>
    method.toUpperCase(),
  );
  if (allowed.length === 0) {
    next();
    return;
  }
  response.set('Allow', allowed.join(', '));
  throw new AppError('METHOD_NOT_ALLOWED');
};

function matches(pattern: string, path: string): boolean {
  return new RegExp(`^${pattern.replace(/:\w+/g, '[^/]+')}$`).test(path);
}
