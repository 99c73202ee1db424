// After the last test file of a project with services.
import './global-setup.ts';

export default async function globalTeardown(): Promise<void> {
  await globalThis.colloquyTestServices?.pop()?.stop();
}
