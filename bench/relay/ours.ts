// Our side: a gateway and one inference worker of a remote pool at the same upstream, in a database and a Temporal namespace
// of their own on the running system's services. Every reply is a durable turn: workflow, turn log, stored, billed.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Connection } from '@temporalio/client';
import { msToTs } from '@temporalio/common/lib/time';
import { parse, stringify } from 'yaml';
import { projectPath } from '../../process/paths.ts';
import { prepareNamespace } from '../../runtime/temporal-namespace.ts';
import { startOwnGateway } from '../streams/own-gateway.ts';
import { serviceVariables } from '../running-system.ts';
import type { RunningSystem } from '../running-system.ts';
import { answers, freePort, run } from './child.ts';
import type { RelayContender, RelayRequest } from './contender.ts';

const NAMESPACE = 'bench-relay';

export async function startOurs(system: RunningSystem, upstream: string): Promise<RelayContender> {
  await makeNamespace(system.temporal);
  const catalogPath = join(system.home, 'bench', 'relay-catalog.yaml');
  writeFileSync(catalogPath, catalogAt(upstream));
  const env = { CATALOG_PATH: catalogPath, TEMPORAL_NAMESPACE: NAMESPACE };
  const gateway = await startOwnGateway(system, env);
  const metricsPort = await freePort();
  const worker = run(
    process.execPath,
    [projectPath('dist', 'workers', 'inference-worker.js'), '--pool', 'relay'],
    {
      ...env,
      COLLOQUY_HOME: system.home,
      COLLOQUY_PROCESS_NAME: 'relay-worker',
      ...serviceVariables(system),
      DATABASE_URL: gateway.databaseUrl,
      METRICS_PORT: String(metricsPort),
    },
    join(system.home, 'bench', 'relay-worker.log'),
  );
  await answers(`http://127.0.0.1:${metricsPort}/readyz`);
  const base = `http://127.0.0.1:${gateway.port}/v1/conversations`;
  const headers = {
    authorization: `Bearer ${gateway.token}`,
    'content-type': 'application/json',
  };
  const pidsOf = (kind: string): number[] =>
    system.processes.filter((each) => each.kind === kind).map(({ pid }) => pid);
  return {
    name: 'Colloquy',
    about:
      'durable turns: workflow, turn log, PostgreSQL; remote pool `openai` at the same upstream',
    parts: {
      gateway: [gateway.pid],
      worker: [worker.pid],
      redis: pidsOf('redis'),
      temporal: pidsOf('temporal'),
      postgres: pidsOf('postgres'),
    },
    prepare: async (count, tokens, isStreamed) => {
      const all: RelayRequest[] = [];
      while (all.length < count) {
        const created = await fetch(base, { method: 'POST', headers, body: '{}' });
        const { conversation_id: id } = (await created.json()) as { conversation_id?: string };
        if (id === undefined) throw new Error(`no conversation: ${created.status}`);
        all.push({
          url: `${base}/${id}/turns`,
          headers: { ...headers, accept: isStreamed ? 'text/event-stream' : 'application/json' },
          body: JSON.stringify({ role: 'user', content: 'Say something.', max_tokens: tokens }),
        });
      }
      return all;
    },
    stop: async () => {
      await worker.stop();
      await gateway.stop();
    },
  };
}

/** The shipped catalogue with one pool more, and limits that do not bind. */
function catalogAt(upstream: string): string {
  const catalog = parse(readFileSync(projectPath('config', 'catalog.yaml'), 'utf8')) as {
    pools: Record<string, { weights?: string }>;
    models: Record<string, object>;
    tiers: Record<string, object>;
  };
  const relay = {
    kind: 'remote',
    base_url: upstream,
    server: 'openai',
    model: 'relay',
    tokenizer: catalog.pools['mini']?.weights,
    context_length: 8192,
    max_num_seqs: 256,
    shed_waiting: 1000,
  };
  const model = { ...catalog.models['colloquy-mini'], pool: 'relay', served_model: 'relay' };
  const enterprise = {
    ...catalog.tiers['enterprise'],
    default_model: 'relay',
    requests_per_minute: 1_000_000,
    tokens_per_minute: 1_000_000_000,
  };
  return stringify({
    ...catalog,
    pools: { ...catalog.pools, relay },
    models: { ...catalog.models, relay: model },
    tiers: { ...catalog.tiers, enterprise },
  });
}

async function makeNamespace(address: string): Promise<void> {
  const connection = await Connection.connect({ address });
  await connection.workflowService
    .registerNamespace({
      namespace: NAMESPACE,
      workflowExecutionRetentionPeriod: msToTs('1 day'),
    })
    .catch((error: { code?: number }) => {
      if (error.code !== ALREADY_EXISTS) throw error;
    });
  await connection.close();
  for (let tries = 0; ; tries += 1) {
    try {
      await prepareNamespace(address, NAMESPACE);
      return;
    } catch (error) {
      if (tries === 40) throw error; // Servers learn of a new namespace within seconds.
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
}

const ALREADY_EXISTS = 6; // gRPC's code.
