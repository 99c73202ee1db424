// For operators and balancers, without a token: liveness, readiness, metrics, the API's own description.
import type { Router } from 'express';
import { failedChecks } from '../../process/operator-endpoints.ts';
import type { GatewayDeps } from '../deps.ts';
import { openApiDocument } from '../openapi.ts';

export function addOperatorRoutes(router: Router, { ready, metrics }: GatewayDeps): void {
  router.get('/healthz', (_request, response) => {
    response.json({ status: 'ok' });
  });

  router.get('/readyz', async (_request, response) => {
    const missing = await failedChecks(ready);
    response
      .status(missing.length === 0 ? 200 : 503)
      .json({ status: missing.length === 0 ? 'ready' : 'not ready', missing });
  });

  router.get('/metrics', async (_request, response) => {
    response.type(metrics.registry.contentType).send(await metrics.registry.metrics());
  });

  router.get('/openapi.json', (_request, response) => {
    response.json(openApiDocument());
  });
}
