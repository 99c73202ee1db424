import { join } from 'node:path';
import { Connection } from '@temporalio/client';
import { embeddedTemporal } from '../../../runtime/embedded-temporal.ts';
import { PortBook } from '../../../runtime/ports.ts';
import { acceptsConnections } from '../../../runtime/probes.ts';
import { SILENT } from '../../../runtime/progress.ts';
import { SupervisedProcess } from '../../../runtime/supervised-process.ts';
import { isTemporalReady, prepareNamespace } from '../../../runtime/temporal-namespace.ts';
import { createTestHome, removeTestHome } from '../../helpers/test-home.ts';
import type { HomeFolder } from '../../../runtime/home-folder.ts';

describe('a Temporal of the operator', () => {
  let home: HomeFolder;
  let temporal: SupervisedProcess;
  let address: string;

  beforeAll(async () => {
    home = createTestHome();
    const context = {
      home,
      ports: new PortBook(join(home.run, 'ports.json')),
      progress: SILENT,
      signal: new AbortController().signal,
      env: { PATH: process.env['PATH'] ?? '' },
    };
    const { spec, url } = await embeddedTemporal(context, 'default');
    address = url;
    // As an operator would run it: nothing of ours is prepared, and one of our names is taken in another namespace.
    const args = spec.args.filter(
      (arg, index) => arg !== '--search-attribute' && spec.args[index - 1] !== '--search-attribute',
    );
    const port = Number(url.split(':')[1]);
    const taken = ['--namespace', 'taken'];
    temporal = new SupervisedProcess(
      { ...spec, args: [...args, ...taken], isReady: () => acceptsConnections('127.0.0.1', port) },
      () => undefined,
    );
    temporal.start();
    await temporal.whenReady(20_000);
  }, 30_000);

  afterAll(async () => {
    await temporal.stop();
    removeTestHome(home);
  }, 30_000);

  it('gets the search attributes that it lacks, once', async () => {
    expect(await isTemporalReady(address, 'default')).toBe(false);
    await prepareNamespace(address, 'default');
    expect(await isTemporalReady(address, 'default')).toBe(true);
    await prepareNamespace(address, 'default');
  });

  it('is refused in one line when one of our names has another type there', async () => {
    const connection = await Connection.connect({ address });
    await connection.operatorService.addSearchAttributes({
      namespace: 'taken',
      searchAttributes: { Tier: 3 },
    });
    await connection.close();
    await expect(prepareNamespace(address, 'taken')).rejects.toThrow(
      'search attribute Tier exists with another type than Keyword',
    );
  });

  it('is refused in one line when the namespace does not exist', async () => {
    await expect(prepareNamespace(address, 'absent')).rejects.toThrow(
      new RegExp(`^Temporal at ${address} \\(namespace absent\\) cannot be used: .+$`),
    );
  });

  it('is refused in one line when nothing listens there', async () => {
    await expect(prepareNamespace('127.0.0.1:1', 'default')).rejects.toThrow(
      /^Temporal at 127\.0\.0\.1:1 \(namespace default\) cannot be used: .+$/,
    );
  });
});
