// The chat page in a real Chromium, driven as a reader would: what it shows, what it asked for, what its policy refused.
import { chromium } from 'playwright-core';
import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core';
import { CHROMIUM_ARGUMENTS, findChromium } from './chromium.ts';
import { waitFor } from './wait-for.ts';

const QUIET_ARGUMENTS = [
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
/** A busy machine may take long for a model's words. */
const ANSWER_MS = 60_000;

/** Its owner closes it. */
export function launchChromium(): Promise<Browser> {
  const executablePath = findChromium();
  if (executablePath === null) throw new Error('There is no Chromium.');
  return chromium.launch({ executablePath, args: [...CHROMIUM_ARGUMENTS, ...QUIET_ARGUMENTS] });
}

export class ChatPage {
  readonly page: Page;
  /** What the policy refused, what threw, and requests that went elsewhere: nothing of all that may happen. */
  readonly faults: string[] = [];

  private constructor(page: Page) {
    this.page = page;
  }

  /** Opens a page in a context of its own. @param options the context's */
  static async open(
    browser: Browser,
    url: string,
    options: BrowserContextOptions = {},
  ): Promise<ChatPage> {
    const context = await browser.newContext(options);
    const chat = new ChatPage(await context.newPage());
    await chat.#watch(new URL(url).origin);
    await chat.page.goto(url);
    return chat;
  }

  close(): Promise<void> {
    return this.page.context().close();
  }

  get box(): Locator {
    return this.page.getByRole('textbox', { name: 'Message' });
  }

  get answers(): Locator {
    return this.page.getByRole('article', { name: 'Answer', exact: true });
  }

  get messages(): Locator {
    return this.page.getByRole('article', { name: 'Your message' });
  }

  button(name: string): Locator {
    return this.page.getByRole('button', { name, exact: true });
  }

  async send(text: string): Promise<void> {
    await this.box.fill(text);
    await this.box.press('Enter');
  }

  /** The last answer has begun: some of its text is there. */
  async begun(minLength = 1): Promise<void> {
    await this.page.locator('.answer:last-child').waitFor();
    await waitFor(
      'the answer begins',
      async () => (await this.text()).length >= minLength,
      ANSWER_MS,
    );
  }

  /** The last answer is complete; returns its text. */
  async ended(): Promise<string> {
    await this.page.locator('.answer:last-child[aria-busy=false]').waitFor({ timeout: ANSWER_MS });
    return this.text();
  }

  /** The last answer's text as shown. */
  async text(): Promise<string> {
    return (await this.answers.last().locator('.markdown').textContent()) ?? '';
  }

  /** Whatever the page asks for, answers have this many tokens at most, and are the same each time: a sampled one may end too soon. */
  async limitAnswers(maxTokens: number): Promise<void> {
    await this.page.route('**/turns', async (route) => {
      const body = JSON.parse(route.request().postData() ?? '{}') as object;
      await route.continue({
        postData: JSON.stringify({ ...body, max_tokens: maxTokens, temperature: 0 }),
      });
    });
  }

  /** The next turn's stream, word for word; the service does not hear of that turn. */
  async answerNext(
    status: number,
    body: string,
    headers: Record<string, string> = {},
  ): Promise<void> {
    const contentType = status === 200 ? 'text/event-stream' : 'application/json';
    await this.page.route(
      '**/turns',
      (route) => route.fulfill({ status, body, contentType, headers }),
      { times: 1 },
    );
  }

  async #watch(origin: string): Promise<void> {
    const { page, faults } = this;
    await page.exposeFunction('tellFault', (words: string) => void faults.push(words));
    await page.addInitScript(
      "addEventListener('securitypolicyviolation', (event) => tellFault(`policy: ${event.violatedDirective} ${event.blockedURI}`))",
    );
    page.on('pageerror', (error) => void faults.push(`error: ${error.message}`));
    page.on('request', (request) => {
      const url = new URL(request.url());
      if (url.protocol !== 'data:' && url.origin !== origin)
        faults.push(`request: ${request.url()}`);
    });
  }
}
