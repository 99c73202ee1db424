import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parse, stringify } from 'yaml';
import { loadCatalog } from '../../../contracts/catalog.ts';
import type { Catalog } from '../../../contracts/catalog.ts';

const SHIPPED = resolve(__dirname, '..', '..', '..', 'config', 'catalog.yaml');
const REMOTE = {
  kind: 'remote',
  base_url: 'http://127.0.0.1:8000/v1',
  server: 'vllm',
  model: 'Qwen/Qwen2.5-7B-Instruct',
  tokenizer: 'models/qwen.gguf',
  context_length: 8192,
  max_num_seqs: 64,
  shed_waiting: 64,
};

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'colloquy-catalog-'));
});

afterAll(() => rmSync(folder, { recursive: true }));

/** The shipped catalogue with its pool `mini` replaced. */
function withPool(pool: object): Catalog {
  const catalog = parse(readFileSync(SHIPPED, 'utf8')) as { pools: Record<string, object> };
  catalog.pools['mini'] = pool;
  const path = join(folder, 'catalog.yaml');
  writeFileSync(path, stringify(catalog));
  return loadCatalog(path);
}

describe('loadCatalog', () => {
  it('takes the catalogue that is shipped', () => {
    expect(Object.keys(loadCatalog(SHIPPED).pools)).toEqual(['mini', 'default']);
  });

  it('takes a native pool with a draft model, whose pool of keys and values must have a size', () => {
    const { mini } = loadCatalog(SHIPPED).pools;
    const draft_model = { weights: 'models/small.gguf', kv_pool_bytes: 33_554_432 };
    expect(withPool({ ...mini, draft_model }).pools['mini']).toEqual({ ...mini, draft_model });
    expect(() => withPool({ ...mini, draft_model: { weights: 'models/small.gguf' } })).toThrow(
      'kv_pool_bytes',
    );
  });

  it('keeps keys and values as f16 unless a pool says q8, and takes nothing else', () => {
    const { mini } = loadCatalog(SHIPPED).pools;
    expect(mini).toMatchObject({ kv_format: 'f16' });
    expect(withPool({ ...mini, kv_format: 'q8' }).pools['mini']).toMatchObject({ kv_format: 'q8' });
    expect(() => withPool({ ...mini, kv_format: 'q4' })).toThrow('kv_format');
  });

  it('takes a remote pool and fills its time-outs in', () => {
    expect(withPool({ ...REMOTE, timeouts: { connect_ms: 1 } }).pools['mini']).toEqual({
      ...REMOTE,
      timeouts: {
        connect_ms: 1,
        first_token_ms: 60_000,
        between_tokens_ms: 20_000,
        unavailable_ms: 15_000,
      },
    });
  });

  it.each([
    ['another protocol', { base_url: 'file:///etc/passwd' }],
    ['credentials in the address', { base_url: 'http://user:secret@host/v1' }],
    ['a query in the address', { base_url: 'http://host/v1?key=secret' }],
    ['no address', { base_url: 'host:8000' }],
    ['an unknown server', { server: 'other' }],
    ['a key itself instead of its variable’s name', { api_key_env: 'sk-secret' }],
    ['a field of native pools', { weights: 'models/any.gguf' }],
  ])('refuses a remote pool with %s', (_, wrong) => {
    expect(() => withPool({ ...REMOTE, ...wrong })).toThrow('pools.mini');
  });
});
