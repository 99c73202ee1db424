import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writesRows } from '../../../postgres/following-pool.ts';

describe('writesRows', () => {
  it.each([
    'insert into conversations (conversation_id) values ($1)',
    'update conversations set title = $1',
    'delete from user_memory where user_id = $1',
    'with stored as (insert into turns select 1 returning turn_id) select * from stored',
    'with titled as (\n    update conversations c set title = s.content from stored s) select 1',
  ])('sees the change in: %s', (text) => {
    expect(writesRows(text)).toBe(true);
  });

  it.each([
    'select 1 from conversations for update',
    'select * from turn_requests r for no key update of r',
    'select conversation_id from conversations for no key update\n  on conflict do nothing',
    'update turn_requests set joined_at = now() where turn_id = $1',
    'insert into turn_requests (turn_id) select $1 on conflict do update set turn_id = $1',
    'begin',
  ])('sees no change that is shown in: %s', (text) => {
    expect(writesRows(text)).toBe(false);
  });

  it('sees every change that is written in postgres/', () => {
    const folder = join(__dirname, '..', '..', '..', 'postgres');
    const texts = readdirSync(folder).flatMap((file) =>
      [
        ...readFileSync(join(folder, file), 'utf8').matchAll(
          /[`'](\s*(?:with|insert|update|delete)\b[^`']*)[`']/g,
        ),
      ].map(([, text]) => text ?? ''),
    );
    const changes = texts.filter((text) =>
      /(insert into|delete from|update) (conversations|turns|user_memory|ledger)\b/.test(text),
    );
    expect(changes.length).toBeGreaterThan(5);
    expect(changes.filter((text) => !writesRows(text))).toEqual([]);
  });
});
