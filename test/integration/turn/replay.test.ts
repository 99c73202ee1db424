// Workflow code must replay the histories of turns and jobs that earlier versions began: a change that would not is caught here.
// A fixture is the binary of temporal.api.history.v1.History, as client.workflow.getHandle(id).fetchHistory() gives it.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporal } from '@temporalio/proto';
import { Runtime, Worker } from '@temporalio/worker';
import { createLogger } from '../../../process/logger.ts';
import { projectPath } from '../../../process/paths.ts';
import { installTemporalRuntime } from '../../../process/temporal.ts';
import { services } from '../../helpers/services.ts';

const FOLDER = projectPath('test', 'fixtures', 'histories');
const WORKFLOW_IDS: Readonly<Record<string, string>> = {
  'turn-done': 'turn/conversation/turn',
  'turn-cancelled': 'turn/conversation/turn',
  'turn-blocked': 'turn/conversation/turn',
  'turn-failed-over': 'turn/conversation/turn',
  'job-continued': 'job/re-embed',
  'job-done': 'job/re-embed',
};
const KINDS = Object.keys(WORKFLOW_IDS);

describe('saved histories', () => {
  beforeAll(() =>
    installTemporalRuntime(createLogger('test', { logLevel: 'fatal', processName: '' })),
  );
  afterAll(() => Runtime.instance().shutdown());

  it('are all named here', () => {
    expect(new Set(readdirSync(FOLDER))).toEqual(new Set(KINDS.map((kind) => `${kind}.pb`)));
  });

  it.each(KINDS)('%s replays', async (kind) => {
    const bytes = readFileSync(join(FOLDER, `${kind}.pb`));
    const history = temporal.api.history.v1.History.decode(bytes);
    const workflowBundle = { codePath: services().workflowBundlePath };
    await Worker.runReplayHistory({ workflowBundle }, history, WORKFLOW_IDS[kind]);
  });
});
