// The configuration files of docs/deploy/ as they stand there, with the example values of one installation replaced by
// those of this one: what is documented is what is tested.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * @param name file in docs/deploy/ of the checkout `root`
 * @param values text of the example → text of this installation; every occurrence is replaced
 * @throws Error when the example does not contain one of the texts: the file and its use have drifted apart
 */
export function deployConfig(
  root: string,
  name: string,
  values: Readonly<Record<string, string>>,
): string {
  let text = readFileSync(join(root, 'docs', 'deploy', name), 'utf8');
  for (const example of Object.keys(values)) {
    if (!text.includes(example)) throw new Error(`docs/deploy/${name} has no "${example}".`);
  }
  // In one pass, so that a value that was put in is never taken for an example.
  const examples = Object.keys(values).sort((one, other) => other.length - one.length);
  const pattern = new RegExp(examples.map(escapePattern).join('|'), 'g');
  text = text.replace(pattern, (example) => values[example] ?? example);
  return text;
}

function escapePattern(text: string): string {
  return text.replace(/[$()*+.?[\\\]^{|}]/g, '\\$&');
}
