import fc from 'fast-check';
import { StopMatcher } from '../../../../inference/tokenizer/stop-matcher.ts';

function feed(
  parts: readonly string[],
  stops: readonly string[],
): { emitted: string[]; isStopped: boolean; end: string } {
  const matcher = new StopMatcher(stops);
  const emitted = parts.map((part) => matcher.push(part));
  return { emitted, isStopped: matcher.isStopped, end: matcher.end() };
}

/** By the definition: the first character at which any stop is complete ends the text, before the longest of those. */
function cutByDefinition(text: string, stops: readonly string[]): string {
  for (let end = 1; end <= text.length; end += 1) {
    const complete = stops.filter((stop) => text.slice(0, end).endsWith(stop));
    if (complete.length > 0)
      return text.slice(0, end - Math.max(...complete.map(({ length }) => length)));
  }
  return text;
}

const small = fc.string({ unit: fc.constantFrom('a', 'b', 'ü', '😀'), maxLength: 12 });
const stopStrings = fc.array(
  small.filter((stop) => stop !== ''),
  { maxLength: 4 },
);

describe('StopMatcher', () => {
  it('cuts any text by the definition, however it comes in pieces', () => {
    fc.assert(
      fc.property(fc.array(small, { maxLength: 8 }), stopStrings, (parts, stops) => {
        const { emitted, end } = feed(parts, stops);
        expect(emitted.join('') + end).toBe(cutByDefinition(parts.join(''), stops));
      }),
      { numRuns: 1000 },
    );
  });

  it('holds back only what may be the beginning of a stop string', () => {
    expect(feed(['one S', 'TO', 'X'], ['STOP']).emitted).toEqual(['one ', '', 'STOX']);
    expect(feed(['aab'], ['aaab'])).toEqual({ emitted: ['aab'], isStopped: false, end: '' });
    expect(feed(['aaa'], ['aaab'])).toEqual({ emitted: [''], isStopped: false, end: 'aaa' });
  });

  it('emits what precedes a stop string and nothing after it', () => {
    expect(feed(['one ST', 'OP two', ' three'], ['STOP'])).toEqual({
      emitted: ['one ', '', ''],
      isStopped: true,
      end: '',
    });
  });

  it('never cuts a character in two, even for a stop string of half a character', () => {
    expect(feed(['a😀b'], ['\uDE00', '\uD83D']).emitted).toEqual(['a😀b']);
    expect(feed(['a\uFFFDb'], ['\uD83D']).emitted).toEqual(['a']);
  });

  it('passes everything on without stop strings', () => {
    expect(feed(['a', 'b'], [])).toEqual({ emitted: ['a', 'b'], isStopped: false, end: '' });
    expect(feed(['a', 'b'], [''])).toEqual({ emitted: ['a', 'b'], isStopped: false, end: '' });
  });
});
