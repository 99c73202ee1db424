import { createParser } from 'eventsource-parser';
import type { EventSourceMessage } from 'eventsource-parser';
import fc from 'fast-check';
import { frame, HEARTBEAT, reconnectAfter } from '../../../gateway/sse.ts';

function parse(wire: string, chunkSize = wire.length): EventSourceMessage[] {
  const events: EventSourceMessage[] = [];
  const parser = createParser({ onEvent: (event) => void events.push(event) });
  const bytes = new TextEncoder().encode(wire);
  const decoder = new TextDecoder();
  for (let at = 0; at < bytes.length; at += chunkSize)
    parser.feed(decoder.decode(bytes.subarray(at, at + chunkSize), { stream: true }));
  return events;
}

const anyText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc
    .array(
      fc.constantFrom(
        '\r',
        '\n',
        '\r\n',
        '\u2028',
        '\u2029',
        '\0',
        ':',
        'data: ',
        'id: 7',
        '\ud800',
        '\udc00',
        '👍',
        ' ',
      ),
      { maxLength: 20 },
    )
    .map((parts) => parts.join('')),
);

describe('SSE frames', () => {
  it('parse back equal for any string, in chunks of any size', () => {
    fc.assert(
      fc.property(
        fc.nat(2 ** 40),
        anyText,
        fc.integer({ min: 1, max: 50 }),
        (id, text, chunkSize) => {
          const [event, ...more] = parse(frame(id, 'token', { text }), chunkSize);
          expect(more).toEqual([]);
          expect(event).toMatchObject({ id: String(id), event: 'token' });
          // UTF-8 cannot carry half a character; JSON escapes it, so even that comes back.
          expect(JSON.parse(event?.data ?? '')).toEqual({ text });
        },
      ),
      { numRuns: 500 },
    );
  });

  it('stay apart however many follow each other, with comments in between', () => {
    const wire = [
      frame(1, 'open', { a: 1 }),
      HEARTBEAT,
      frame(2, 'token', { text: '\n\n' }),
      reconnectAfter(500),
      frame(3, 'done', {}),
    ].join('');
    expect(parse(wire).map(({ id, event }) => `${id} ${event}`)).toEqual([
      '1 open',
      '2 token',
      '3 done',
    ]);
  });
});
