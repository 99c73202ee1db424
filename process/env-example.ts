// `.env.example`, printed from the schema so that it cannot grow stale: `node scripts/env-example.mjs > .env.example`.
import { z } from 'zod';
import { ENVIRONMENT } from './config.ts';

/** Every variable with its meaning; those with a default are commented out, those without are left for the supervisor. */
export function envExample(): string {
  const { properties = {} } = z.toJSONSchema(ENVIRONMENT, { io: 'input', unrepresentable: 'any' });
  const blocks = Object.entries(properties).map(([name, schema]) => {
    const { description = '', default: preset } = schema as {
      description?: string;
      default?: unknown;
    };
    const value = typeof preset === 'string' || typeof preset === 'number' ? String(preset) : '';
    const note = preset === undefined ? ' The embedded service when it is left out.' : '';
    return `# ${description}${note}\n#${name}=${value}\n`;
  });
  return `# Settings of every process, with their defaults. Read by npm start from .env in the checkout.\n\n${blocks.join('\n')}`;
}
