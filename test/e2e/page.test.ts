import type { Browser, BrowserContextOptions } from 'playwright-core';
import { ChatPage, launchChromium } from '../helpers/chat-page.ts';
import { describeWithChromium } from '../helpers/chromium.ts';
import { startSystem } from '../helpers/system.ts';
import { waitFor } from '../helpers/wait-for.ts';
import type { TestSystem } from '../helpers/system.ts';

type StorageState = Exclude<BrowserContextOptions['storageState'], string | undefined>;

interface StoredTurn {
  readonly turn_id: string;
  readonly role: string;
  readonly content: string;
  readonly parent_turn_id: string | null;
  readonly finish_reason: string | null;
}

const SHORT = 16;
/** Long enough to be interrupted in its middle. */
const LONG = 400;
const DESKTOP = { viewport: { width: 1280, height: 800 } };
const NARROW = { viewport: { width: 390, height: 780 } };

describeWithChromium('chat page', () => {
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

  afterEach(async () => {
    const { faults } = chat;
    await chat.close();
    expect(faults).toEqual([]);
  });

  async function open(
    maxTokens: number,
    options: BrowserContextOptions = DESKTOP,
  ): Promise<ChatPage> {
    chat = await ChatPage.open(browser, `${gateway}/#token=${token}`, options);
    await chat.limitAnswers(maxTokens);
    await chat.box.waitFor();
    return chat;
  }

  /** What the service has stored of the conversation in view. */
  async function stored(): Promise<StoredTurn[]> {
    const id = new URL(chat.page.url()).pathname.replace('/c/', '');
    const response = await fetch(`${gateway}/v1/conversations/${id}`, {
      headers: { Authorization: `Bearer ${token}` },
    });
    return ((await response.json()) as { turns: StoredTurn[] }).turns;
  }

  const answersOf = (turns: readonly StoredTurn[]): string[] =>
    turns.filter(({ role }) => role === 'assistant').map(({ content }) => content);

  /** The page shows markdown, which numbers its lists itself: only letters are compared. */
  const words = (text: string): string => text.replace(/\P{L}+/gu, ' ').trim();

  it('takes the token from the address, and says so when it is refused', async () => {
    chat = await ChatPage.open(browser, `${gateway}/#token=wrong`);
    await chat.page.getByText('This token is not accepted.').waitFor();
    await chat.page.getByLabel('Access token').fill(token);
    await chat.page.getByLabel('Access token').press('Enter');
    await chat.box.waitFor();
    await chat.page.goto(`${gateway}/#token=${token}`);
    await chat.box.waitFor();
    expect(chat.page.url()).toBe(`${gateway}/`);
  });

  it('streams an answer and shows what it took', async () => {
    await open(SHORT);
    await chat.send('Say something about rivers.');
    const text = await chat.ended();
    expect(words(text)).toBe(words(answersOf(await stored()).join()));
    expect(await chat.answers.locator('.figures').textContent()).toMatch(
      /^colloquy-\w+ · \d+\stokens? · \$0\.\d+ · first\stoken\s[\d.]+\sm?s$/,
    );
    await chat.page.getByRole('link', { name: 'Say something about rivers.' }).first().waitFor();
    expect(await chat.box.evaluate((box) => box === box.ownerDocument.activeElement)).toBe(true);
  });

  it('stops an answer and keeps what was written', async () => {
    await open(LONG);
    await chat.send('Tell me a long story.');
    await chat.begun(20);
    await chat.button('Stop answering').click();
    const text = await chat.ended();
    await chat.answers.getByText('Stopped. What was written until then is kept.').waitFor();
    const [answer] = (await stored()).filter(({ role }) => role === 'assistant');
    expect(answer?.finish_reason).toBe('cancelled');
    expect(words(text)).toBe(words(answer?.content ?? ''));
  });

  it('writes an answer again beside the first, and leads from one to the other', async () => {
    await open(SHORT);
    await chat.send('Name a colour.');
    const first = await chat.ended();
    await chat.button('Write this answer again').click();
    await chat.answers.getByText('2 of 2').waitFor();
    await chat.ended();
    await chat.button('Previous version of this answer').focus();
    await chat.page.keyboard.press('Enter');
    await chat.answers.getByText('1 of 2').waitFor();
    expect(await chat.text()).toBe(first);
    // At the end, and the keyboard is where it was.
    expect(await focusedLabel()).toBe('Previous version of this answer');
    expect(answersOf(await stored())).toHaveLength(2);
  });

  it('shows the replies of a turn that asked for several, while they are written and after a reload', async () => {
    await open(SHORT);
    const asked = { max_tokens: SHORT, n: 3, temperature: 1, seed: 11 };
    await chat.page.route('**/turns', async (route) => {
      const body = JSON.parse(route.request().postData() ?? '{}') as object;
      await route.continue({ postData: JSON.stringify({ ...body, ...asked }) });
    });
    await chat.send('Name a river.');
    await chat.answers.getByText('1 of 3').waitFor();
    const shown = [await chat.ended()];
    for (const place of ['2 of 3', '3 of 3']) {
      await chat.button('Next version of this answer').click();
      await chat.answers.getByText(place).waitFor();
      shown.push(await chat.ended());
    }
    expect(shown.map(words)).toEqual(answersOf(await stored()).map(words));
    expect(new Set(shown).size).toBe(3);
    // What the reader turned to last is what the conversation goes on with, and shows when it is opened again.
    const remembered = chat.page.waitForResponse(
      (response) => response.request().method() === 'PATCH' && response.ok(),
    );
    await chat.button('Previous version of this answer').click();
    await chat.answers.getByText('2 of 3').waitFor();
    await remembered;
    await chat.page.reload();
    await chat.answers.getByText('2 of 3').waitFor();
    expect(words(await chat.ended())).toBe(words(shown[1] ?? ''));
  });

  it('edits a message into a branch of its own', async () => {
    await open(SHORT);
    await chat.send('Name a flower.');
    await chat.ended();
    await chat.messages.hover();
    await chat.button('Edit message').click();
    await chat.page.getByRole('textbox', { name: 'Edited message' }).fill('Name a tree.');
    await chat.button('Send').click();
    await chat.messages.getByText('2 of 2').waitFor();
    await chat.ended();
    await chat.button('Previous version of this message').click();
    await chat.messages.getByText('Name a flower.').waitFor();
    const messages = (await stored()).filter(({ role }) => role === 'user');
    expect(messages.map(({ content, parent_turn_id }) => [content, parent_turn_id])).toEqual([
      ['Name a flower.', null],
      ['Name a tree.', null],
    ]);
  });

  it('goes on with an answer after a reload in its middle', async () => {
    await open(LONG);
    await chat.send('Tell me a long story about the sea.');
    await chat.begun(20);
    await chat.page.reload();
    await chat.begun();
    expect(await chat.answers.getAttribute('aria-busy')).toBe('true');
    const text = await chat.ended();
    const answers = answersOf(await stored());
    expect(answers).toHaveLength(1);
    expect(words(text)).toBe(words(answers.join()));
    expect(await chat.messages.count()).toBe(1);
  });

  it('goes on with an answer after the network was gone', async () => {
    await open(LONG);
    await chat.send('Tell me a long story about the wind.');
    await chat.begun(20);
    await chat.page.context().setOffline(true);
    await chat.answers.getByText('The connection is lost.').waitFor();
    await chat.page.context().setOffline(false);
    const text = await chat.ended();
    const answers = answersOf(await stored());
    expect(answers).toHaveLength(1);
    expect(words(text)).toBe(words(answers.join()));
  });

  it('goes on with an answer when the gateway was killed', async () => {
    await open(LONG);
    await chat.send('Tell me a long story about the rain.');
    await chat.begun(20);
    const killed = system.processes().find(({ kind }) => kind === 'gateway');
    process.kill(killed?.pid ?? NaN, 'SIGKILL');
    await chat.answers.getByText('The connection is lost.').waitFor();
    const text = await chat.ended();
    const answers = answersOf(await stored());
    expect(answers).toHaveLength(1);
    expect(words(text)).toBe(words(answers.join()));
  });

  it('shows the answer that another page began, and keeps the message that has to wait', async () => {
    await open(LONG);
    await chat.send('Tell me a long story about the snow.');
    await chat.begun(20);
    const other = await ChatPage.open(browser, chat.page.url(), {
      storageState: await storedToken(),
    });
    await other.messages.waitFor();
    await other.send('And mine?');
    await other.page
      .getByRole('alert')
      .getByText('An answer is already being written here.')
      .waitFor();
    expect(await other.box.inputValue()).toBe('And mine?');
    expect(await other.ended()).toBe(await chat.ended());
    expect([await other.messages.count(), other.faults]).toEqual([1, []]);
    await other.close();
  });

  it('shows hostile markdown as harmless text', async () => {
    await open(SHORT);
    const hostile = [
      '<script>tellFault("script")</script><img src=x onerror="tellFault(1)"><svg onload="tellFault(2)"></svg>',
      '[a](javascript:tellFault(3)) [b](data:text/html,<script>tellFault(4)</script>) [c](https://example.org "t")',
      '![tracker](https://example.org/pixel.png) ![ok](data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=)',
      '<iframe src="https://example.org"></iframe><form action="https://example.org"><button>x</button></form>',
      '<a href="javascript:tellFault(5)" style="position:fixed">d</a><style>body{display:none}</style>',
    ].join('\n\n');
    await chat.answerNext(200, scripted(hostile, 'stop'));
    await chat.send('Show me.');
    await chat.ended();
    const markdown = chat.answers.locator('.markdown');
    const tags = await markdown
      .locator('*')
      .evaluateAll((all) => all.map(({ tagName }) => tagName.toLowerCase()));
    expect(new Set(tags)).toEqual(new Set(['p', 'a', 'img']));
    const links = await markdown
      .locator('a')
      .evaluateAll((all) =>
        all.map((link) => [
          link.getAttribute('href'),
          link.getAttribute('target'),
          link.getAttribute('rel'),
        ]),
      );
    expect(links).toEqual([
      ['https://example.org', '_blank', 'noopener noreferrer'],
      ['https://example.org/pixel.png', '_blank', 'noopener noreferrer'],
    ]);
    expect(await markdown.textContent()).toContain('<script>tellFault("script")</script>');
  });

  it('keeps long code in a box of its own that can be copied', async () => {
    await open(SHORT, { ...NARROW, permissions: ['clipboard-read', 'clipboard-write'] });
    const code = `const line = '${'x'.repeat(300)}';\n`;
    await chat.answerNext(200, scripted(`Look:\n\n\`\`\`ts\n${code}\`\`\`\n`, 'stop'));
    await chat.send('Code, please.');
    await chat.ended();
    expect(await overflow()).toBe(0);
    await chat.button('Copy code').click();
    await chat.button('Copied').waitFor();
    expect(await chat.page.evaluate('navigator.clipboard.readText()')).toBe(code);
  });

  it('counts down to the next try when the service asks to wait, and says in words why an answer ended', async () => {
    await open(SHORT);
    const limited = {
      error: { code: 'rate_limited', message: 'The rate limit is reached.', retry_after: 2 },
    };
    await chat.answerNext(200, scripted('Half', 'error', 'The model failed to answer.'));
    await chat.answerNext(429, JSON.stringify(limited), { 'Retry-After': '2' });
    await chat.send('Hello?');
    await chat.page.getByText(/^The rate limit is reached\. Trying again in [12] s\.$/).waitFor();
    await chat.answers.getByText('The model failed to answer. You can try again.').waitFor();
  });

  it('gives a refused message back to its writer with the reason', async () => {
    await open(SHORT);
    const refused = {
      error: { code: 'context_length_exceeded', message: 'The message does not fit.' },
    };
    await chat.answerNext(400, JSON.stringify(refused));
    await chat.send('Far too long.');
    await chat.page.getByRole('alert').getByText('The message does not fit.').waitFor();
    expect(await chat.box.inputValue()).toBe('Far too long.');
    expect(await chat.messages.count()).toBe(0);
  });

  it('renames and deletes a conversation', async () => {
    await open(SHORT);
    await chat.send('Name a bird.');
    await chat.ended();
    await chat.page.getByRole('link', { name: 'Name a bird.' }).hover();
    await chat.button('Rename Name a bird.').click();
    await chat.page.getByRole('textbox', { name: 'Title' }).fill('Birds');
    await chat.page.keyboard.press('Enter');
    await chat.page.getByRole('heading', { name: 'Birds' }).waitFor();
    await chat.page.getByRole('link', { name: 'Birds' }).hover();
    await chat.button('Delete Birds').click();
    await chat.page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await chat.page.getByRole('link', { name: 'Birds' }).waitFor({ state: 'detached' });
    expect(chat.page.url()).toBe(`${gateway}/`);
  });

  it('can be used by keyboard alone', async () => {
    await open(LONG);
    const { keyboard } = chat.page;
    await chat.page.locator('#composer-text:focus').waitFor();
    // Long enough an answer to be stopped in its middle.
    await keyboard.type('Tell me a long story');
    await keyboard.press('Shift+Enter');
    await keyboard.type('about a mountain.');
    await keyboard.press('Enter');
    await chat.begun();
    const sent = 'Tell me a long story\nabout a mountain.';
    expect(await chat.messages.locator('.bubble').textContent()).toBe(sent);
    await keyboard.press('Escape');
    await chat.answers.getByText('Stopped.').waitFor();
    await chat.page.locator('#composer-text:focus').waitFor();
    await keyboard.press('Shift+Tab');
    expect(await focusedLabel()).toBe('Write this answer again');
    expect(await chat.page.evaluate('getComputedStyle(document.activeElement).outlineStyle')).toBe(
      'solid',
    );
    await keyboard.press('Control+Shift+O');
    await chat.page.getByText('What is on your mind?').waitFor();
    expect([chat.page.url(), await focusedLabel()]).toEqual([`${gateway}/`, 'composer-text']);
  });

  it('fits a narrow screen, with the list in a drawer', async () => {
    await open(SHORT, { ...NARROW, hasTouch: true, isMobile: true });
    const list = chat.page.getByRole('navigation', { name: 'Conversations' });
    expect([await overflow(), await list.isVisible()]).toEqual([0, false]);
    await chat.button('Conversations').click();
    await list.waitFor();
    await chat.page.keyboard.press('Escape');
    await list.waitFor({ state: 'hidden' });
    await chat.send('Name a fish.');
    await chat.ended();
    expect(await overflow()).toBe(0);
  });

  it('leaves the view where the reader scrolled up to', async () => {
    await open(LONG, { viewport: { width: 500, height: 420 } });
    await chat.send('Tell me a long story about a mountain.');
    await waitFor(
      'the text is longer than the window',
      async () => Number(await scrollTop()) > 120,
    );
    await chat.page.locator('#scroller').hover();
    await chat.page.mouse.wheel(0, -80);
    await chat.button('To the newest text').waitFor();
    const top = await scrollTop();
    await chat.ended();
    expect(await scrollTop()).toBe(top);
    await chat.button('To the newest text').click();
    await chat.button('To the newest text').waitFor({ state: 'hidden' });
  });

  it('is dark when the system is, and when the reader says so', async () => {
    await open(SHORT, { ...DESKTOP, colorScheme: 'dark' });
    const ground = (): Promise<unknown> =>
      chat.page.evaluate('getComputedStyle(document.body).backgroundColor');
    const dark = await ground();
    await chat.button('Colours: as the system').click();
    const light = await ground();
    expect(light).not.toBe(dark);
    await chat.button('Colours: light').click();
    expect(await ground()).toBe(dark);
    await chat.page.reload();
    await chat.button('Colours: dark').waitFor();
  });

  /** What another page of the same reader starts from: the token, without what this page follows. */
  async function storedToken(): Promise<StorageState> {
    const { origins } = await chat.page.context().storageState();
    const localStorage = (origins[0]?.localStorage ?? []).filter(
      ({ name }) => name === 'colloquy.token',
    );
    return { cookies: [], origins: [{ origin: gateway, localStorage }] };
  }

  /** How far the page is wider than its window. */
  function overflow(): Promise<unknown> {
    return chat.page.evaluate('Math.max(0, document.documentElement.scrollWidth - innerWidth)');
  }

  function scrollTop(): Promise<unknown> {
    return chat.page.evaluate("document.querySelector('#scroller').scrollTop");
  }

  function focusedLabel(): Promise<unknown> {
    return chat.page.evaluate('document.activeElement.ariaLabel ?? document.activeElement.id');
  }
});

/** The whole stream of a turn that says `text`. */
function scripted(text: string, finishReason: string, errorMessage?: string): string {
  const id = '0199aaaa-0000-7000-8000-00000000000';
  const usage = { prompt_tokens: 10, completion_tokens: 5, cached_tokens: 0, cost_usd: 0.001 };
  const open = {
    turn_id: `${id}2`,
    user_turn_id: `${id}1`,
    conversation_id: `${id}0`,
    model: 'm',
    served_model: 'm',
    pool: 'p',
  };
  const error = { code: 'generation_failed', message: errorMessage };
  const events: [string, unknown][] = [
    ['open', open],
    ['token', { text }],
    ...(errorMessage === undefined ? [] : [['error', error] as [string, unknown]]),
    ['done', { turn_id: open.turn_id, finish_reason: finishReason, usage }],
  ];
  return events
    .map(
      ([type, data], index) =>
        `id: ${index + 1}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`,
    )
    .join('');
}
