import { parse } from 'yaml';
import { deployConfig } from '../../../../runtime/deploy/config-file.ts';
import { TEMPORAL_DYNAMIC_CONFIG } from '../../../../runtime/embedded-temporal.ts';
import { ROOT } from '../../../helpers/test-home.ts';

describe('deployConfig', () => {
  it('replaces every occurrence of each example, and nothing that was put in', () => {
    const text = deployConfig(ROOT, 'valkey.conf', {
      'change-me': 'port 7000',
      'port 7000': 'port 1',
      'cluster-port 17000': 'cluster-port 2',
    });
    expect(text).toContain('requirepass port 7000\nprimaryauth port 7000\n');
    expect(text).toContain('\nport 1\ncluster-port 2\n');
    expect(text).not.toContain('change-me');
  });

  it('refuses an example that the file does not have', () => {
    expect(() => deployConfig(ROOT, 'valkey.conf', { 'port 7777': 'port 1' })).toThrow(
      'docs/deploy/valkey.conf has no "port 7777".',
    );
  });
});

describe('docs/deploy/temporal-dynamic-config.yaml', () => {
  it('sets what the embedded server is given, poll rates by shard', () => {
    const settings = parse(deployConfig(ROOT, 'temporal-dynamic-config.yaml', {})) as Record<
      string,
      { value: unknown }[]
    >;
    expect(Object.keys(settings).sort()).toEqual(Object.keys(TEMPORAL_DYNAMIC_CONFIG).sort());
    const numShards = 4;
    for (const [name, text] of Object.entries(TEMPORAL_DYNAMIC_CONFIG)) {
      const embedded = JSON.parse(text) as unknown;
      const isByShard = name.endsWith('MaxPollRPS');
      expect([name, settings[name]?.[0]?.value]).toEqual([
        name,
        isByShard ? Number(embedded) / numShards : embedded,
      ]);
    }
  });
});
