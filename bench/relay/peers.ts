// The two peers, as their documents say: LiteLLM's proxy with one worker and without a database, Portkey's gateway on Node.
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { answers, freePort, run } from './child.ts';
import type { RelayContender } from './contender.ts';

const MESSAGES = [{ role: 'user', content: 'Say something.' }];

function requests(
  url: string,
  headers: Readonly<Record<string, string>>,
): RelayContender['prepare'] {
  return async (count, tokens, isStreamed) => {
    const body = JSON.stringify({
      model: 'relay',
      messages: MESSAGES,
      max_tokens: tokens,
      stream: isStreamed,
    });
    return Array.from({ length: count }, () => ({
      url,
      body,
      headers: { 'content-type': 'application/json', ...headers },
    }));
  };
}

/** Null when it is not set up. */
export async function startLiteLlm(home: string, upstream: string): Promise<RelayContender | null> {
  const command = join(home, 'peers', 'litellm', 'venv', 'bin', 'litellm');
  if (!existsSync(command)) return null;
  const config = join(home, 'bench', 'litellm.yaml');
  writeFileSync(
    config,
    [
      'model_list:',
      '  - model_name: relay',
      '    litellm_params:',
      '      model: openai/relay',
      `      api_base: ${upstream}`,
      '      api_key: none',
      'litellm_settings:',
      '  telemetry: false',
      '',
    ].join('\n'),
  );
  const port = await freePort();
  const child = run(
    command,
    ['--config', config, '--host', '127.0.0.1', '--port', String(port), '--num_workers', '1'],
    {
      LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY: 'true',
      LITELLM_MODE: 'PRODUCTION',
      LITELLM_LOG: 'ERROR',
      LITELLM_LOCAL_MODEL_COST_MAP: 'True',
    },
    join(home, 'bench', 'litellm.log'),
  );
  const base = `http://127.0.0.1:${port}`;
  await answers(`${base}/health/liveliness`);
  return {
    name: 'LiteLLM',
    about: 'litellm[proxy] 1.106.12, one worker, no database, no keys',
    parts: { gateway: [child.pid] },
    prepare: requests(`${base}/v1/chat/completions`, {}),
    stop: () => child.stop(),
  };
}

/** Null when it is not set up. */
export async function startPortkey(home: string, upstream: string): Promise<RelayContender | null> {
  const folder = join(home, 'peers', 'portkey', 'node_modules', '@portkey-ai', 'gateway');
  if (!existsSync(folder)) return null;
  const port = await freePort();
  const child = run(
    process.execPath,
    [join(folder, 'build', 'start-server.js'), `--port=${port}`, '--headless'],
    { NODE_ENV: 'production', TRUSTED_CUSTOM_HOSTS: 'localhost,127.0.0.1' },
    join(home, 'bench', 'portkey.log'),
  );
  const base = `http://127.0.0.1:${port}`;
  await answers(base);
  return {
    name: 'Portkey',
    about: '@portkey-ai/gateway 1.15.2 on Node, headless',
    parts: { gateway: [child.pid] },
    prepare: requests(`${base}/v1/chat/completions`, {
      authorization: 'Bearer none',
      'x-portkey-provider': 'openai',
      'x-portkey-custom-host': upstream,
    }),
    stop: () => child.stop(),
  };
}
