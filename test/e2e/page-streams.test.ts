// What a reader's browser goes through while an answer is written: reloads, a network that comes and goes, sleep, a second
// tab. Whatever happens, each letter of the stored answer is shown once.
import type { Browser } from 'playwright-core';
import { ChatPage, launchChromium } from '../helpers/chat-page.ts';
import { describeWithChromium } from '../helpers/chromium.ts';
import { startSystem } from '../helpers/system.ts';
import type { TestSystem } from '../helpers/system.ts';
import { call } from '../helpers/turn-client.ts';
import { waitFor } from '../helpers/wait-for.ts';

/** Some seconds of writing. */
const LONG = 1200;

describeWithChromium('a chat page while an answer is written', () => {
  let system: TestSystem;
  let browser: Browser;
  let gateway: string;
  let token: string;
  let chat: ChatPage;

  beforeAll(async () => {
    system = await startSystem();
    browser = await launchChromium();
    gateway = system.endpoints().gateway;
    token = system.endpoints().tokens.enterprise;
  }, 180_000);

  afterAll(async () => {
    await browser.close();
    await system.stop();
  }, 60_000);

  beforeEach(async () => {
    chat = await ChatPage.open(browser, `${gateway}/#token=${token}`);
    await chat.limitAnswers(LONG);
    await chat.box.waitFor();
  });

  afterEach(async () => {
    const { faults } = chat;
    await chat.close();
    expect(faults).toEqual([]);
  });

  /** The page shows markdown, which numbers its lists itself: letters are compared. */
  const letters = (text: string): string => text.replace(/\P{L}+/gu, '');

  /** Letters of the answers that are stored of the conversation in view. */
  async function storedLetters(): Promise<string[]> {
    const id = new URL(chat.page.url()).pathname.replace('/c/', '');
    const { json } = await call({ gateway, token }, 'GET', `/v1/conversations/${id}`);
    const turns = json['turns'] as { role: string; content: string }[];
    return turns.filter(({ role }) => role === 'assistant').map(({ content }) => letters(content));
  }

  const isBusy = async (): Promise<boolean> =>
    (await chat.answers.last().getAttribute('aria-busy')) === 'true';

  it('shows each letter once through reloads and a network that comes and goes', async () => {
    await chat.send('Tell me a very long story about a lighthouse.');
    await chat.begun(20);
    const context = chat.page.context();
    for (let round = 0; round < 3 && (await isBusy()); round += 1) {
      await context.setOffline(true);
      await chat.answers.getByText('The connection is lost.').waitFor();
      await context.setOffline(false);
      await chat.page.reload();
      await chat.begun();
    }
    const shown = letters(await chat.ended());
    expect(await storedLetters()).toEqual([shown]);
    expect(await chat.messages.count()).toBe(1);
  });

  it('shows each letter once after a sleep in which its connection died', async () => {
    await chat.send('Tell me a very long story about a harbour.');
    await chat.begun(20);
    const session = await chat.page.context().newCDPSession(chat.page);
    await session.send('Page.setWebLifecycleState', { state: 'frozen' });
    const { pid } = system.processes().find(({ kind }) => kind === 'gateway') ?? { pid: NaN };
    process.kill(pid, 'SIGKILL');
    await waitFor(
      'the answer is stored while the page sleeps',
      async () => {
        const stored = await storedLetters().catch(() => []);
        return stored.length === 1;
      },
      60_000,
    );
    await session.send('Page.setWebLifecycleState', { state: 'active' });
    const shown = letters(await chat.ended());
    expect(await storedLetters()).toEqual([shown]);
  });

  it('shows the same in two tabs, one of which loses its network again and again', async () => {
    await chat.send('Tell me a very long story about a bridge.');
    await chat.begun(20);
    const { origins } = await chat.page.context().storageState();
    const localStorage = (origins[0]?.localStorage ?? []).filter(
      ({ name }) => name === 'colloquy.token',
    );
    const other = await ChatPage.open(browser, chat.page.url(), {
      storageState: { cookies: [], origins: [{ origin: gateway, localStorage }] },
    });
    await other.messages.waitFor();
    await other.send('And mine?');
    await other.begun();
    for (let round = 0; round < 3 && (await isBusy()); round += 1) {
      await other.page.context().setOffline(true);
      await other.answers.getByText('The connection is lost.').waitFor();
      await other.page.context().setOffline(false);
      await other.begun();
    }
    const shown = letters(await chat.ended());
    expect(letters(await other.ended())).toBe(shown);
    expect(await storedLetters()).toEqual([shown]);
    expect(other.faults).toEqual([]);
    await other.close();
  });
});
