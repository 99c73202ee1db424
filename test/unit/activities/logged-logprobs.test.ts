import { loggedLogprobs } from '../../../activities/logged-logprobs.ts';
import { loggedLogprob, wireLogprobs } from '../../../contracts/logprobs.ts';

const BYTES = [Buffer.from(' sea'), Buffer.from([0xf0, 0x9f]), Buffer.from(''), Buffer.from('é')];
const model = { tokenBytes: (id: number) => BYTES[id] ?? Buffer.from('') };

describe('logprobs of a token', () => {
  it('are shown as OpenAI’s chat API shows them, with the bytes of what is no whole character', () => {
    const top = [0, 1, 2].map((tokenId) => ({ tokenId, logprob: -1 - tokenId }));
    const logged = [
      loggedLogprobs(model, 0, { logprob: Math.fround(-0.1), top }),
      loggedLogprobs(model, 3, { logprob: 0, top: [] }),
    ];
    expect(wireLogprobs(logged)).toEqual({
      content: [
        {
          token: ' sea',
          logprob: -0.1,
          bytes: [32, 115, 101, 97],
          top_logprobs: [
            { token: ' sea', logprob: -1, bytes: [32, 115, 101, 97] },
            { token: '\uFFFD', logprob: -2, bytes: [0xf0, 0x9f] },
            { token: '', logprob: -3, bytes: [] },
          ],
        },
        { token: 'é', logprob: 0, bytes: [0xc3, 0xa9], top_logprobs: [] },
      ],
    });
  });

  it('survive the log, whatever they are', () => {
    for (const logprob of [0, -1e-9, -123.456789, -Infinity, NaN]) {
      const logged = loggedLogprobs(model, 1, { logprob, top: [{ tokenId: 2, logprob }] });
      expect(loggedLogprob.parse(JSON.parse(JSON.stringify(logged)))).toEqual(logged);
    }
    expect(loggedLogprobs(model, 1, { logprob: -Infinity, top: [] })[1]).toBe(-9999);
  });
});
