// Passwords and demo tokens of one home: made once, kept in files that only this user can read.
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { readJson, writeFileAtomically } from './home-folder.ts';

export const DEMO_TIERS = Object.freeze(['free', 'paid', 'enterprise', 'admin'] as const);
export type DemoTier = (typeof DEMO_TIERS)[number];
export type DemoTokens = Readonly<Record<DemoTier, string>>;

const token = z.string().startsWith('cq_');
const tokensSchema = z.object({ free: token, paid: token, enterprise: token, admin: token });

/** The password of an embedded service by its name, or of the role that processes have in its database (`app`); safe in a URL. */
export function servicePassword(secretsFolder: string, service: string): string {
  const path = join(secretsFolder, `${service}-password`);
  if (!existsSync(path)) writeFileAtomically(path, randomBytes(24).toString('base64url'));
  return readFileSync(path, 'utf8').trim();
}

/** One bearer token a demo user. Deleting the file makes new ones at the next start. */
export function demoTokens(secretsFolder: string): DemoTokens {
  const path = join(secretsFolder, 'tokens.json');
  const known = tokensSchema.safeParse(readJson(path));
  if (known.success) return known.data;
  const make = (): string => `cq_${randomBytes(24).toString('base64url')}`;
  const tokens = { free: make(), paid: make(), enterprise: make(), admin: make() };
  writeFileAtomically(path, JSON.stringify(tokens, null, 2));
  return tokens;
}
