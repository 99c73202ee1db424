// What readers of replies saw, and what the logs hold: the stored text, entry after entry, with one end.
import type { Anomaly, Run } from './anomaly.ts';
import type { FinalTurn, StreamOperation } from './history.ts';

/** No connection, or a service that is away: a reader comes back. */
const PASSING = [0, 429, 503];

export function checkStreams(run: Run): Anomaly[] {
  return [
    ...run.streams.flatMap((each) => checkStream(run, each)),
    ...checkLogs(run),
    ...checkReplays(run),
  ];
}

function checkStream(run: Run, stream: StreamOperation): Anomaly[] {
  const { conversation, turnId, end: at } = stream;
  const found: Anomaly[] = [];
  const add = (kind: string, detail: string): void =>
    void found.push({ kind, detail, conversation, turnId, at });
  let last = stream.after;
  for (const id of stream.ids) {
    if (id <= last) {
      add('ids-not-rising', `${id} after ${last}`);
      break;
    }
    last = id;
  }
  // Nobody knows how much text came with a number of a log that was lost with its worker: such a reader is sent away.
  const isOfLostLog = run.reply(turnId)?.streamOffsets?.includes(-1) === true;
  if (isOfLostLog && stream.refusals.includes(400)) return found;
  if (stream.numDone > 1) add('several-ends', `done came ${stream.numDone} times`);
  if (stream.numDone === 0 && !stream.hasLeft)
    add('no-end', 'the reader waited and done never came');
  if (stream.after === 0 && stream.ids.length > 0 && stream.numOpen !== 1)
    add('open-not-once', `open came ${stream.numOpen} times`);
  const refused = stream.refusals.find((status) => !PASSING.includes(status));
  if (refused !== undefined) add('reader-refused', `a connection was answered ${refused}`);
  const reply = run.reply(turnId);
  if (reply === undefined) return found;
  const expected = textAfter(reply, stream.after);
  if (stream.numDone > 0 ? stream.text !== expected : !expected.startsWith(stream.text))
    add('text-differs', differenceOf(stream.text, expected));
  if (
    stream.numDone > 0 &&
    (stream.finishReason !== reply.finishReason ||
      stream.completionTokens !== reply.completionTokens)
  )
    add(
      'end-differs',
      `done said ${stream.finishReason}, ${stream.completionTokens} tokens; stored are ${reply.finishReason}, ${reply.completionTokens}`,
    );
  return found;
}

function checkLogs(run: Run): Anomaly[] {
  return run.final.logs.flatMap(({ turnId, numbers, text, numTokens, numEnds }) => {
    const reply = run.reply(turnId);
    if (reply === undefined) return []; // The turn is missed elsewhere, or was never acknowledged.
    const found: Anomaly[] = [];
    const gap = numbers.findIndex((number, index) => number !== index + 1);
    if (gap >= 0)
      found.push({
        kind: 'log-gap',
        detail: `entry ${gap + 1} is numbered ${numbers[gap]}`,
        turnId,
      });
    if (numEnds !== 1) found.push({ kind: 'log-ends', detail: `${numEnds} ends`, turnId });
    if (text !== reply.content)
      found.push({ kind: 'log-differs', detail: differenceOf(text, reply.content), turnId });
    else if (numTokens !== reply.completionTokens)
      found.push({
        kind: 'log-differs',
        detail: `${numTokens} tokens in the log, ${reply.completionTokens} stored`,
        turnId,
      });
    return found;
  });
}

/**
 * What is stored is what an undisturbed system says: all of it, or of a cancelled turn the beginning. A prompt that has changed
 * meanwhile (what was learnt of the user goes into it) says nothing.
 */
function checkReplays(run: Run): Anomaly[] {
  return run.replays.flatMap(({ conversation, turnId, end: at, ...replay }) => {
    const reply = run.reply(turnId);
    if (reply === undefined || reply.promptTokens !== replay.promptTokens) return [];
    const { content, finishReason, completionTokens } = reply;
    const isSame =
      finishReason === 'stop' || finishReason === 'length'
        ? content === replay.text && completionTokens === replay.completionTokens
        : replay.text.startsWith(content);
    const place = { conversation, turnId, at };
    return isSame
      ? []
      : [{ kind: 'not-repeatable', detail: differenceOf(content, replay.text), ...place }];
  });
}

function textAfter({ content, streamOffsets }: FinalTurn, after: number): string {
  return after === 0 ? content : content.slice(streamOffsets?.[after - 1] ?? content.length);
}

/** Lengths and the first difference, without the text itself beyond a few characters. */
function differenceOf(received: string, expected: string): string {
  let index = 0;
  while (index < received.length && received[index] === expected[index]) index += 1;
  const near = (text: string): string => JSON.stringify(text.slice(index, index + 24));
  return `from character ${index} on: ${near(received)} instead of ${near(expected)} (${received.length} and ${expected.length} characters)`;
}
