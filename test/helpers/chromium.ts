// The Chromium that page tests use: the machine's own. Without one they are skipped, and counted as skipped.
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
const MAC = '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome';

/** Path of a Chromium (CHROMIUM_PATH, else the first on PATH), or null. */
export function findChromium(): string | null {
  const given = process.env['CHROMIUM_PATH'];
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const candidates = [
    ...(given === undefined || given === '' ? [] : [given]),
    ...NAMES.flatMap((name) => folders.map((folder) => join(folder, name))),
    MAC,
  ];
  return candidates.find(isExecutable) ?? null;
}

/** `describe` where there is a Chromium, else `describe.skip`, which the summary counts. */
export const describeWithChromium: jest.Describe =
  findChromium() === null ? describe.skip : describe;

/** What Chromium needs to run in a container as root. */
export const CHROMIUM_ARGUMENTS = Object.freeze(['--no-sandbox', '--disable-dev-shm-usage']);

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
