// One client of a storm: appends values to conversations, repeats what it has no answer to, reads lists and replies,
// cancels now and then. What it chooses follows from its seed; what it meets does not.
import { randomNumbers } from '../../bench/random-numbers.ts';
import { digestOf } from '../../bench/chaos/history.ts';
import type { CallOperation, PostOperation, ReadTurn } from '../../bench/chaos/history.ts';
import { ask, codeIn, isRefusal } from './chaos-http.ts';
import type { Answer } from './chaos-http.ts';
import { readReply } from './chaos-reader.ts';
import type { KnownTurn, ListOfTurns, Tier, World } from './chaos-world.ts';
import { takeTurn } from './turn-client.ts';
import type { Caller, TurnStream } from './turn-client.ts';

/** A list this long is left for a new one: prompts stay short, and most of the time goes into turns. */
const VALUES_EACH = 25;
/** So that replies go on until they are cut: a turn is most in danger in its middle. */
const LONG = 'Whatever the user says, tell a very long story of the sea, in other words each time.';
const CALL_TIMEOUT_MS = 8000;
const JSON_TIMEOUT_MS = 60_000;
const MAX_ATTEMPTS = 40;

type Attempt = Pick<PostOperation, 'outcome' | 'status' | 'code' | 'turnId'> & {
  /** Of an accepted attempt, `open` already taken from it. */
  readonly stream?: TurnStream;
};

export class ChaosClient {
  readonly #world: World;
  readonly #name: string;
  readonly #tier: Tier;
  readonly #places: readonly string[];
  readonly #random: () => number;

  /** @param places it appends to; a place that several clients have is a conversation that they share */
  constructor(
    world: World,
    name: string,
    { seed, tier, places }: { seed: number; tier: Tier; places: readonly string[] },
  ) {
    this.#world = world;
    this.#name = name;
    this.#tier = tier;
    this.#places = places;
    this.#random = randomNumbers(seed);
  }

  async run(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      const dice = this.#random();
      const list = await this.#list(isOver);
      if (list === null) return;
      if (dice < 0.65) await this.append(list, isOver);
      else if (dice < 0.85) await this.readList(list.id);
      else await this.#readAgain();
      await pause(this.#random() * 300);
    }
  }

  /** Pages through a conversation from its newest turn to its first, each page at any gateway. */
  async readList(conversation: string): Promise<void> {
    const begin = this.#world.now();
    const turns: ReadTurn[] = [];
    let cursor = '';
    do {
      const limit = 2 + Math.floor(this.#random() * 20);
      const path = `/v1/conversations/${conversation}?limit=${limit}${cursor}`;
      const answer = await this.#call('read', conversation, 'GET', path);
      if (answer.status !== 200) return;
      const page = answer.json as unknown as Page;
      turns.unshift(
        ...page.turns.map(({ turn_id: turnId, role, content }) => ({
          ...{ turnId, role, digest: digestOf(content) },
        })),
      );
      cursor = page.next_cursor === null ? '' : `&before=${page.next_cursor}`;
    } while (cursor !== '');
    const end = this.#world.now();
    this.#world.record({ op: 'read', client: this.#name, conversation, begin, end, turns });
  }

  /** Appends the next value and reads its reply; repeats, with the same key, what it has no certain answer to. */
  async append(list: ListOfTurns, isOver: () => boolean): Promise<void> {
    const value = this.#world.nextValue();
    list.numValues += 1;
    const key = `value-${value}`;
    const params = {
      max_tokens: 8 + Math.floor(this.#random() * 90),
      temperature: this.#random() < 0.3 ? 0 : 1,
      seed: value,
    };
    const body = { content: String(value), ...params };
    const begin = this.#world.now();
    const style = this.#random();
    if (style < 0.08) return this.#appendAsJson(list, { value, key, body });
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
      const isTwin = style < 0.18 && attempt === 0;
      const attempts = await Promise.all(
        Array.from({ length: isTwin ? 2 : 1 }, () => this.#post(list.id, { value, key, body })),
      );
      const [accepted, ...others] = attempts.filter(({ outcome }) => outcome === 'accepted');
      for (const { stream } of others) stream?.close();
      if (accepted?.stream !== undefined && accepted.turnId !== undefined)
        return this.#follow(list.id, accepted.turnId, accepted.stream, { params, begin });
      const isRefused = attempts.every(({ outcome }) => outcome === 'refused');
      // Some never ask again: their value is there or not, but not twice.
      if (!isRefused && this.#random() < 0.1) return;
      if (isOver() && isRefused) return;
      await pause(100 + this.#random() * 500);
    }
  }

  async #follow(
    conversation: string,
    turnId: string,
    stream: TurnStream,
    asked: Pick<KnownTurn, 'params' | 'begin'>,
  ): Promise<void> {
    const { client, tier } = { client: this.#name, tier: this.#tier };
    const cancelAt = this.#random() < 0.1 ? 1 + this.#random() * 20 : Infinity;
    let isCancelled = false;
    const decide = ({ id }: { id: number }): 'stay' | 'move' | 'leave' => {
      if (id >= cancelAt && !isCancelled) {
        isCancelled = true;
        void this.#cancel(conversation, turnId);
      }
      const dice = this.#random();
      if (dice < 0.004) return 'leave';
      return dice < 0.03 ? 'move' : 'stay';
    };
    const reading = { client, conversation, turnId, tier, after: 0, stream, decide };
    const { ids, numDone, end } = await readReply(this.#world, reading, (all) => this.#choose(all));
    if (numDone > 0)
      this.#world.turns.push({ conversation, turnId, tier, ids: ids.slice(0, -1), end, ...asked });
  }

  async #appendAsJson(list: ListOfTurns, turn: Posted): Promise<void> {
    const begin = this.#world.now();
    const path = `/v1/conversations/${list.id}/turns`;
    const caller = this.#choose(this.#world.callers(this.#tier));
    const headers = { accept: 'application/json', 'idempotency-key': turn.key };
    const body = { role: 'user', ...turn.body };
    const answer = await ask(caller, 'POST', path, { body, headers, timeoutMs: JSON_TIMEOUT_MS });
    const end = this.#world.now();
    const { turn_id: id } = answer.json;
    const turnId = typeof id === 'string' ? id : '';
    const { status } = answer;
    this.#recordPost(list.id, turn, begin, {
      outcome: status === 200 ? 'accepted' : isRefusal(answer) ? 'refused' : 'unknown',
      status,
      ...(answer.code === undefined ? {} : { code: answer.code }),
      ...(status === 200 ? { turnId } : {}),
    });
    if (status !== 200) return;
    const usage = answer.json['usage'] as { completion_tokens: number };
    this.#world.record({
      ...{ op: 'stream', client: this.#name, conversation: list.id, turnId, after: 0, begin, end },
      ...{ numConnections: 1, longestAwayMs: 0, ids: [], numOpen: 1, numDone: 1, isJson: true },
      text: String(answer.json['content']),
      finishReason: String(answer.json['finish_reason']),
      completionTokens: usage.completion_tokens,
      ...{ refusals: [], hasLeft: false },
    });
  }

  async #post(conversation: string, turn: Posted): Promise<Attempt> {
    const begin = this.#world.now();
    const attempt = await this.#attempt(conversation, turn);
    this.#recordPost(conversation, turn, begin, attempt);
    return attempt;
  }

  async #attempt(conversation: string, { key, body }: Posted): Promise<Attempt> {
    const caller = this.#choose(this.#world.callers(this.#tier));
    try {
      const headers = { 'idempotency-key': key };
      const stream = await takeTurn({ ...caller, headers }, conversation, body);
      if (stream.status !== 200) {
        await stream.ended;
        const code = codeIn(stream.refusal);
        const answer = { status: stream.status, ...(code === undefined ? {} : { code }) };
        return { outcome: isRefusal(answer) ? 'refused' : 'unknown', ...answer };
      }
      const open = await stream.until(() => true);
      if (open === null) return { outcome: 'unknown', status: 0 };
      // Given back, so that whoever follows sees it too: events are kept from the first on.
      return { outcome: 'accepted', status: 200, turnId: String(open.data['turn_id']), stream };
    } catch {
      return { outcome: 'unknown', status: 0 };
    }
  }

  #recordPost(
    conversation: string,
    { value, key }: Posted,
    begin: number,
    { outcome, status, code, turnId }: Attempt,
  ): void {
    this.#world.record({
      ...{
        op: 'post',
        client: this.#name,
        conversation,
        value,
        key,
        begin,
        end: this.#world.now(),
      },
      ...{ outcome, status },
      ...(code === undefined ? {} : { code }),
      ...(turnId === undefined ? {} : { turnId }),
    });
  }

  async #cancel(conversation: string, turnId: string): Promise<void> {
    const path = `/v1/conversations/${conversation}/cancel`;
    await this.#call('cancel', conversation, 'POST', path, { turn_id: turnId });
  }

  /** A reply that is known, from its beginning or from any entry, to its end. */
  async #readAgain(): Promise<void> {
    const { turns } = this.#world;
    const known = turns[Math.floor(this.#random() * turns.length)];
    if (known === undefined) return;
    const { conversation, turnId, tier, ids } = known;
    const after = this.#random() < 0.5 ? 0 : (ids[Math.floor(this.#random() * ids.length)] ?? 0);
    const reading = { client: this.#name, conversation, turnId, tier, after };
    await readReply(this.#world, { ...reading, decide: () => 'stay' }, (all) => this.#choose(all));
  }

  /** A conversation to append to; a new one where there is none or the last one is long. Null when the storm is over. */
  async #list(isOver: () => boolean): Promise<ListOfTurns | null> {
    const place = this.#places[Math.floor(this.#random() * this.#places.length)] ?? '';
    for (;;) {
      const list = this.#world.places.get(place);
      if (list !== undefined && list.numValues < VALUES_EACH) return list;
      if (isOver()) return null;
      const { status, json } = await this.#call('create', '', 'POST', '/v1/conversations', {
        system_prompt: LONG,
      });
      if (status === 201) {
        const created = { id: String(json['conversation_id']), tier: this.#tier, numValues: 0 };
        this.#world.conversations.push(created);
        this.#world.places.set(place, created);
      } else await pause(200);
    }
  }

  async #call(
    what: CallOperation['what'],
    conversation: string,
    method: string,
    path: string,
    body?: object,
  ): Promise<Answer> {
    const begin = this.#world.now();
    const caller = this.#choose(this.#world.callers(this.#tier));
    const timeoutMs = CALL_TIMEOUT_MS;
    const answer = await ask(caller, method, path, { timeoutMs, ...(body && { body }) });
    const turnId = (body as { turn_id?: string } | undefined)?.turn_id;
    this.#world.record({
      ...{ op: 'call', client: this.#name, what, conversation, begin, end: this.#world.now() },
      status: answer.status,
      ...(answer.code === undefined ? {} : { code: answer.code }),
      ...(turnId === undefined ? {} : { turnId }),
    });
    return answer;
  }

  #choose(callers: readonly Caller[]): Caller {
    const chosen = callers[Math.floor(this.#random() * callers.length)];
    if (chosen === undefined) throw new Error('There is no gateway.');
    // Some give up sooner than a frozen gateway wakes, and repeat elsewhere what it has in hand.
    return { ...chosen, idleMs: 1000 + this.#random() * 5000 };
  }
}

interface Posted {
  readonly value: number;
  readonly key: string;
  readonly body: object;
}

interface Page {
  readonly turns: readonly { turn_id: string; role: string; content: string }[];
  readonly next_cursor: string | null;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
