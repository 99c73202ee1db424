// The short form of `npm run prove-deletion`: what is deleted is in no store, no file and no log of a whole system.
import { proveDeletion } from '../../runtime/deletion-proof/prove.ts';
import type { ProofStep } from '../../runtime/deletion-proof/prove.ts';
import { startSystem } from '../helpers/system.ts';
import type { TestSystem } from '../helpers/system.ts';

let system: TestSystem;
beforeAll(async () => {
  system = await startSystem();
}, 300_000);
afterAll(() => system.stop(), 60_000);

const hitsOf = ({ findings }: ProofStep, store: string): readonly string[] =>
  findings.find((each) => each.store === store)?.hits ?? ['the store was not searched'];

it('finds what was written in rows, keys and files, and nothing of it anywhere once it is deleted', async () => {
  const [planted, ...deleted] = await proveDeletion(system.home.root, {
    waitsForExecutions: false,
  });
  if (planted === undefined) throw new Error('nothing was planted');
  for (const store of ['PostgreSQL rows', 'PostgreSQL files', 'Valkey keys', 'Valkey files'])
    expect([store, hitsOf(planted, store).length > 0]).toEqual([store, true]);
  for (const { step, findings } of deleted)
    for (const { store, hits } of findings) expect([step, store, hits]).toEqual([step, store, []]);
  expect(deleted).toHaveLength(2);
}, 120_000);
