// The checker on a whole run that is well, and on the same run with one thing wrong at a time: it names that one thing.
import { check } from '../../../../bench/chaos/checker.ts';
import { digestOf } from '../../../../bench/chaos/history.ts';
import type {
  CallOperation,
  FaultOperation,
  FinalState,
  FinalTurn,
  Operation,
  PostOperation,
  ReadOperation,
  ReplayOperation,
  StreamOperation,
} from '../../../../bench/chaos/history.ts';

type Mutable<Type> = Type extends object
  ? { -readonly [Key in keyof Type]: Mutable<Type[Key]> }
  : Type;

interface Story {
  history: Mutable<Operation>[];
  final: Mutable<FinalState>;
}

const REPLIES = ['one two', 'three four', 'five'];

/** Three values appended one after the other by one client, each reply streamed, the list read at the end. */
function wellRun(): Story {
  const history: Operation[] = [];
  const turns: Mutable<FinalTurn>[] = [];
  REPLIES.forEach((content, index) => {
    const [userId, turnId, begin] = [`u${index}`, `a${index}`, index * 100];
    history.push(post({ value: index + 1, key: `k${index}`, turnId, begin, end: begin + 10 }));
    history.push(stream({ turnId, text: content, begin: begin + 10, end: begin + 50 }));
    const parentTurnId = turns.at(-1)?.turnId ?? null;
    turns.push(userTurn(userId, String(index + 1), parentTurnId, begin + 12));
    turns.push(replyTurn(turnId, content, userId, begin + 45));
  });
  history.push(read(turns, 300));
  const logs = REPLIES.map((text, index) => ({
    turnId: `a${index}`,
    numbers: [1, 2, 3, 4],
    text,
    numTokens: 2,
    numEnds: 1,
  }));
  const final: FinalState = {
    at: 400,
    conversations: [{ id: 'c', activeTurnId: 'a2', turns }],
    ledger: REPLIES.map((_, index) => ({
      turnId: `a${index}`,
      conversation: 'c',
      promptTokens: 5,
      completionTokens: 2,
      costUsd: 0.001,
    })),
    logs,
    openRequests: [],
    openWorkflows: [],
    keysWithoutTtl: [],
    usedBlocks: { 'inference-default-1': 0 },
    leases: [],
    dispatches: {},
  };
  return structuredClone({ history, final }) as Story;
}

const place = { client: 'client-1', conversation: 'c' };

function post(each: Partial<PostOperation>): Mutable<PostOperation> {
  const defaults = { value: 1, key: 'k', begin: 0, end: 1, status: 200, turnId: 'a0' };
  return { op: 'post', ...place, ...defaults, outcome: 'accepted', ...each };
}

function stream(each: Partial<Mutable<StreamOperation>>): Mutable<StreamOperation> {
  return {
    ...{ op: 'stream', ...place, turnId: 'a0', after: 0, begin: 0, end: 1 },
    ...{ numConnections: 1, longestAwayMs: 0, ids: [1, 2, 3, 4], text: '', numOpen: 1, numDone: 1 },
    ...{ finishReason: 'stop', completionTokens: 2, refusals: [], hasLeft: false },
    ...each,
  };
}

function read(turns: readonly Mutable<FinalTurn>[], begin: number): Mutable<ReadOperation> {
  const shown = turns.map(({ turnId, role, content }) => ({
    turnId,
    role,
    digest: digestOf(content),
  }));
  return { op: 'read', ...place, begin, end: begin + 1, turns: shown };
}

function userTurn(
  turnId: string,
  content: string,
  parentTurnId: string | null,
  createdAt: number,
): Mutable<FinalTurn> {
  const empty = { finishReason: null, errorCode: null, promptTokens: null, completionTokens: null };
  return {
    ...empty,
    ...{
      turnId,
      role: 'user',
      content,
      parentTurnId,
      costUsd: null,
      streamOffsets: null,
      createdAt,
    },
  };
}

function replyTurn(
  turnId: string,
  content: string,
  parentTurnId: string,
  createdAt: number,
): Mutable<FinalTurn> {
  return {
    ...{ turnId, role: 'assistant', content, parentTurnId, finishReason: 'stop', errorCode: null },
    ...{ promptTokens: 5, completionTokens: 2, costUsd: 0.001, createdAt },
    streamOffsets: [0, 3, content.length, content.length],
  };
}

/** The turns of the one conversation. */
const turnsOf = ({ final }: Story): Mutable<FinalTurn>[] => final.conversations[0]?.turns ?? [];
const logOf = ({ final }: Story): Mutable<FinalState['logs'][number]> =>
  final.logs[0] ?? { turnId: '', numbers: [], text: '', numTokens: 0, numEnds: 0 };
const first = <Op extends Operation['op']>(
  { history }: Story,
  op: Op,
): Mutable<Extract<Operation, { op: Op }>> =>
  history.find((each) => each.op === op) as Mutable<Extract<Operation, { op: Op }>>;

const call = (each: Partial<CallOperation>): CallOperation => ({
  ...{ op: 'call', ...place, what: 'read', begin: 0, end: 1, status: 200 },
  ...each,
});
const replayed = (text: string): ReplayOperation => ({
  ...{ op: 'replay', conversation: 'c', turnId: 'a0', begin: 350, end: 360, text },
  ...{ promptTokens: 5, completionTokens: 2 },
});
const fault: FaultOperation = {
  op: 'fault',
  action: 'kill',
  target: 'redis',
  begin: 140,
  end: 140,
};

/** What goes wrong → the names of the anomalies, each once. */
const CORRUPTIONS: readonly [string, readonly string[], (story: Story) => void][] = [
  [
    'an acknowledged value is gone with its reply',
    ['lost', 'lost-reply', 'billed-for-nothing', 'read-not-prefix', 'wrong-end'],
    (story) => turnsOf(story).splice(4, 2),
  ],
  [
    'an acknowledged turn has its message and no reply',
    ['lost-reply', 'no-reply', 'billed-for-nothing', 'read-not-prefix'],
    (story) => turnsOf(story).splice(5, 1),
  ],
  [
    'a value is there twice',
    ['doubled'],
    (story) => {
      turnsOf(story).push(userTurn('u9', '2', 'a2', 290), replyTurn('a9', '', 'u9', 295));
      story.final.ledger.push({ ...ledgerRow('a9') });
      for (const each of story.final.conversations) each.activeTurnId = 'a9';
    },
  ],
  [
    'a repeat with the same key made a second turn',
    ['key-made-two-turns', 'lost-reply'],
    (story) => story.history.push(post({ value: 1, key: 'k0', turnId: 'a7', begin: 20, end: 30 })),
  ],
  [
    'a value that was only ever refused is there',
    ['refused-but-present'],
    (story) => {
      const refused = story.history.find((each) => each.op === 'post' && each.value === 3);
      Object.assign(refused ?? {}, { outcome: 'refused', status: 409, code: 'turn_conflict' });
    },
  ],
  [
    'a value that nobody posted is there',
    ['phantom'],
    (story) => {
      story.history = story.history.filter((each) => each.op !== 'post' || each.value !== 3);
    },
  ],
  [
    'a value is in another conversation',
    ['misplaced'],
    (story) => {
      for (const each of story.history)
        if (each.op === 'post' && each.value === 3) each.conversation = 'd';
    },
  ],
  [
    'two messages hang below the same reply',
    ['forked'],
    (story) => Object.assign(turnsOf(story)[4] ?? {}, { parentTurnId: 'a0' }),
  ],
  [
    'the conversation goes on from an older turn',
    ['wrong-end'],
    (story) => Object.assign(story.final.conversations[0] ?? {}, { activeTurnId: 'a1' }),
  ],
  [
    'a value stands before one that was acknowledged before it was sent',
    ['reordered'],
    (story) => {
      const third = story.history.find((each) => each.op === 'post' && each.value === 3);
      Object.assign(third ?? {}, { begin: -20, end: -10 });
    },
  ],
  [
    'a read has another text than the list',
    ['read-not-prefix'],
    (story) => Object.assign(first(story, 'read').turns[3] ?? {}, { digest: digestOf('other') }),
  ],
  [
    'a read misses a turn in the middle',
    ['read-not-prefix'],
    (story) => first(story, 'read').turns.splice(2, 1),
  ],
  [
    'a read is shorter than what was done before it',
    ['stale-read'],
    (story) => first(story, 'read').turns.splice(4),
  ],
  ['a stream lacks a word', ['text-differs'], (story) => (first(story, 'stream').text = 'one')],
  [
    'a stream says a word twice',
    ['text-differs'],
    (story) => (first(story, 'stream').text = 'one one two'),
  ],
  [
    'a reader that left had something else',
    ['text-differs'],
    (story) =>
      Object.assign(first(story, 'stream'), { numDone: 0, hasLeft: true, text: 'one thr' }),
  ],
  [
    'an entry came twice',
    ['ids-not-rising'],
    (story) => (first(story, 'stream').ids = [1, 2, 2, 3]),
  ],
  [
    'an entry came out of order',
    ['ids-not-rising'],
    (story) => (first(story, 'stream').ids = [1, 3, 2, 4]),
  ],
  ['a stream ended twice', ['several-ends'], (story) => (first(story, 'stream').numDone = 2)],
  [
    'a stream that was waited for did not end',
    ['no-end'],
    (story) => (first(story, 'stream').numDone = 0),
  ],
  ['a stream opened twice', ['open-not-once'], (story) => (first(story, 'stream').numOpen = 2)],
  [
    'a reader was told that its turn is not there',
    ['reader-refused'],
    (story) => first(story, 'stream').refusals.push(404),
  ],
  [
    '`done` said another reason than is stored',
    ['end-differs'],
    (story) => (first(story, 'stream').finishReason = 'length'),
  ],
  ['the log has a gap', ['log-gap'], (story) => (logOf(story).numbers = [1, 2, 4, 5])],
  ['the log has no end', ['log-ends'], (story) => (logOf(story).numEnds = 0)],
  ['the log has another text', ['log-differs'], (story) => (logOf(story).text = 'one two three')],
  [
    'the log has more tokens than were stored',
    ['log-differs'],
    (story) => (logOf(story).numTokens = 3),
  ],
  [
    'a turn says something else when it is generated again',
    ['not-repeatable'],
    (story) => story.history.push(replayed('one one two')),
  ],
  [
    'a turn says the same with another number of tokens',
    ['not-repeatable'],
    (story) => story.history.push({ ...replayed('one two'), completionTokens: 3 }),
  ],
  [
    'a turn ended with an error',
    ['failed-turn', 'end-differs'],
    (story) => Object.assign(turnsOf(story)[1] ?? {}, { finishReason: 'error', errorCode: 'X' }),
  ],
  [
    'a turn was cancelled by nobody',
    ['cancelled-unasked'],
    (story) => {
      Object.assign(turnsOf(story)[1] ?? {}, { finishReason: 'cancelled' });
      first(story, 'stream').finishReason = 'cancelled';
    },
  ],
  ['a turn is not on the ledger', ['unbilled'], (story) => story.final.ledger.shift()],
  [
    'a turn is on the ledger twice',
    ['billed-twice'],
    (story) => story.final.ledger.push(ledgerRow('a0')),
  ],
  [
    'the ledger has more tokens than the turn',
    ['bill-differs'],
    (story) => Object.assign(story.final.ledger[0] ?? {}, { completionTokens: 3 }),
  ],
  [
    'the ledger has a turn that is not there',
    ['billed-for-nothing'],
    (story) => story.final.ledger.push(ledgerRow('a9')),
  ],
  ['a turn has not ended', ['still-generating'], ({ final }) => final.openRequests.push('a0')],
  ['a workflow is open', ['open-workflow'], ({ final }) => final.openWorkflows.push('turn/c/a0')],
  ['a key stays for ever', ['key-without-ttl'], ({ final }) => final.keysWithoutTtl.push('k')],
  [
    'blocks are held by nobody',
    ['leaked-blocks'],
    ({ final }) => (final.usedBlocks['inference-default-1'] = 4),
  ],
  [
    'a reservation was not settled in quiet times',
    ['unsettled'],
    ({ final }) => final.leases.push({ turnId: 'a0', expiresInMs: 60_000 }),
  ],
  [
    'the server failed',
    ['unexpected-status'],
    (story) => story.history.push(call({ status: 500, code: 'internal' })),
  ],
  [
    'a key was said to be used with another body',
    ['unexpected-status'],
    (story) =>
      story.history.push(
        post({ outcome: 'refused', status: 409, code: 'idempotency_conflict', begin: 20, end: 21 }),
      ),
  ],
];

function ledgerRow(turnId: string): FinalState['ledger'][number] {
  return { turnId, conversation: 'c', promptTokens: 5, completionTokens: 2, costUsd: 0.001 };
}

const judge = ({ history, final }: Story) =>
  check(history as readonly Operation[], final as FinalState);

const kindsOf = (story: Story): string[] => [
  ...new Set(judge(story).anomalies.map(({ kind }) => kind)),
];

describe('the checker', () => {
  it('finds nothing in a run that is well', () => {
    expect(judge(wellRun())).toEqual({ anomalies: [], allowed: [] });
  });

  it.each(CORRUPTIONS)('names it when %s', (_, kinds, corrupt) => {
    const story = wellRun();
    corrupt(story);
    expect(kindsOf(story).sort()).toEqual([...kinds].sort());
  });

  it('lets an attempt with an unknown outcome be there or not', () => {
    const absent = wellRun();
    absent.history.push(post({ value: 8, key: 'k8', outcome: 'unknown', status: 503 }));
    const present = wellRun();
    for (const each of present.history)
      if (each.op === 'post' && each.value === 3)
        Object.assign(each, { outcome: 'unknown', status: 0 });
    expect([kindsOf(absent), kindsOf(present)]).toEqual([[], []]);
  });

  it('lets a repeat with the same key join the turn', () => {
    const story = wellRun();
    story.history.push(post({ value: 2, key: 'k1', turnId: 'a1', begin: 120, end: 130 }));
    expect(kindsOf(story)).toEqual([]);
  });

  it('lets a reader resume, leave, and ask for a part of a stored text', () => {
    const story = wellRun();
    story.history.push(
      stream({ after: 2, ids: [3, 4], text: ' two', numOpen: 0 }),
      stream({ ids: [1, 2], text: 'one', numDone: 0, hasLeft: true, finishReason: null }),
      stream({ ids: [], isJson: true, text: 'one two' }),
    );
    expect(kindsOf(story)).toEqual([]);
  });

  it('lets a replay be the same, go on where the turn was cancelled, or have another prompt', () => {
    const story = wellRun();
    story.history.push(replayed('one two'), { ...replayed('other'), promptTokens: 6 });
    expect(kindsOf(story)).toEqual([]);
    Object.assign(turnsOf(story)[1] ?? {}, { finishReason: 'cancelled' });
    first(story, 'stream').finishReason = 'cancelled';
    story.history.push(call({ what: 'cancel', turnId: 'a0', status: 204 }));
    story.history.push({ ...replayed('one two three'), completionTokens: 9 });
    expect(kindsOf(story)).toEqual([]);
  });

  it('lets a read begun before a turn was done end without it', () => {
    const story = wellRun();
    story.history.push(read(turnsOf(story).slice(0, 4), 240));
    expect(kindsOf(story)).toEqual([]);
  });

  it('allows a reservation to wait for its expiry after a fault at the end of its turn', () => {
    const story = wellRun();
    story.history.push(fault);
    story.final.leases.push({ turnId: 'a1', expiresInMs: 60_000 });
    expect(kindsOf(story)).toEqual([]);
  });

  it('allows other words in mid-stream for a turn that was generated again, and to nobody who reads it later', () => {
    const story = wellRun();
    first(story, 'stream').text = 'one one two';
    story.final.dispatches['a0'] = 2;
    expect(judge(story)).toMatchObject({ anomalies: [], allowed: [{ kind: 'text-differs' }] });
    story.history.push(stream({ text: 'one one two', begin: 350, end: 360 }));
    expect(kindsOf(story)).toEqual(['text-differs']);
  });
});
