import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { jobNamed, rateFrom, temporalAddress } from '../../../runtime/jobs.ts';
import { createTestHome, removeTestHome } from '../../helpers/test-home.ts';

describe('what an operator asks of jobs', () => {
  it('names a job that there is, or the error lists them', () => {
    expect(jobNamed('re-embed')).toBe('re-embed');
    for (const name of [undefined, '', 'reembed', 'toString'])
      expect(() => jobNamed(name)).toThrow('there are re-embed, back-fill, statistics');
  });

  it('gives a rate above 0, or none', () => {
    expect([rateFrom(undefined), rateFrom('0.5'), rateFrom('200')]).toEqual([null, 0.5, 200]);
    for (const rate of ['', ' ', '0', '-1', 'fast', 'Infinity', '1e9'])
      expect(() => rateFrom(rate)).toThrow('--rate takes items a second');
  });

  it('finds Temporal by TEMPORAL_ADDRESS, else in the home, else says so', () => {
    const home = createTestHome();
    try {
      expect(() => temporalAddress(home.root, {})).toThrow('TEMPORAL_ADDRESS is not set');
      mkdirSync(home.run, { recursive: true });
      writeFileSync(join(home.run, 'endpoints.json'), '{"temporal":"127.0.0.1:7"}');
      expect(temporalAddress(home.root, { TEMPORAL_ADDRESS: '' })).toBe('127.0.0.1:7');
      expect(temporalAddress(home.root, { TEMPORAL_ADDRESS: 'there:1' })).toBe('there:1');
    } finally {
      removeTestHome(home);
    }
  });
});
