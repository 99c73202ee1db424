import fc from 'fast-check';
import { readSse, SseParser } from '../../../web/src/sse-reader.ts';
import type { SseFrame } from '../../../web/src/sse-reader.ts';

function bodyOf(pieces: readonly Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(piece);
      controller.close();
    },
  });
}

async function framesOf(pieces: readonly Uint8Array[]): Promise<SseFrame[]> {
  const frames: SseFrame[] = [];
  for await (const frame of readSse(bodyOf(pieces))) frames.push(frame);
  return frames;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('SseParser', () => {
  it('reads id, event and data of a frame', () => {
    expect(new SseParser().push('id: 7\nevent: token\ndata: {"text":"hi"}\n\n')).toEqual([
      { id: '7', event: 'token', data: '{"text":"hi"}' },
    ]);
  });

  it('drops comments and frames without data', () => {
    expect(new SseParser().push(': heartbeat\n\nid: 3\n\nevent: x\n\n')).toEqual([]);
  });

  it('does not carry an id or event over to the next frame', () => {
    const [, second] = new SseParser().push('id: 1\nevent: a\ndata: 1\n\ndata: 2\n\n');
    expect(second).toEqual({ id: null, event: 'message', data: '2' });
  });

  it('joins data lines with a line feed and takes one blank after the colon off', () => {
    expect(new SseParser().push('data:  a\ndata\ndata:b\n\n')[0]?.data).toBe(' a\n\nb');
  });

  it('takes CR, LF and CRLF for line ends, also a CRLF cut in two', () => {
    const parser = new SseParser();
    const frames = [
      ...parser.push('data: 1\r'),
      ...parser.push('\n\r'),
      ...parser.push('\ndata: 2\r\rdata: 3\n\n'),
    ];
    expect(frames.map(({ data }) => data)).toEqual(['1', '2', '3']);
  });

  it('does not end a frame at a CRLF that is cut in two', () => {
    const parser = new SseParser();
    const frames = [...parser.push('data: a\r'), ...parser.push('\ndata: b\r\n\r\n')];
    expect(frames.map(({ data }) => data)).toEqual(['a\nb']);
  });

  it('ignores a byte order mark at the start', () => {
    expect(new SseParser().push('\uFEFFdata: 1\n\n')[0]?.data).toBe('1');
  });
});

describe('readSse', () => {
  it('gives the same frames however the bytes are cut', async () => {
    const frame = fc.record({
      id: fc.nat().map(String),
      event: fc.constantFrom('token', 'done'),
      data: fc.string({ unit: 'grapheme' }).map((text) => JSON.stringify({ text })),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(frame), fc.array(fc.nat({ max: 40 })), async (frames, sizes) => {
        const whole = bytes(
          frames
            .map(({ id, event, data }) => `id: ${id}\nevent: ${event}\ndata: ${data}\n\n`)
            .join(''),
        );
        const pieces: Uint8Array[] = [];
        let from = 0;
        for (const size of sizes) pieces.push(whole.slice(from, (from += size)));
        pieces.push(whole.slice(from));
        expect(await framesOf(pieces)).toEqual(frames);
      }),
    );
  });

  it('drops a frame that the end of the stream cuts off', async () => {
    expect(await framesOf([bytes('data: 1\n\ndata: 2\n')])).toEqual([
      { id: null, event: 'message', data: '1' },
    ]);
  });

  it('tells of every piece, comments too', async () => {
    let pieces = 0;
    for await (const frame of readSse(
      bodyOf([bytes(': alive\n\n'), bytes(': alive\n\n')]),
      () => (pieces += 1),
    ))
      expect(frame).toBeUndefined();
    expect(pieces).toBe(2);
  });

  it('closes the connection when its reader stops early', async () => {
    let isCancelled = false;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(bytes('data: 1\n\n')),
      cancel: () => void (isCancelled = true),
    });
    for await (const { data } of readSse(body)) {
      expect(data).toBe('1');
      break;
    }
    expect(isCancelled).toBe(true);
  });
});
