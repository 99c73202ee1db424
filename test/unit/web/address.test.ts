import { addressOf, conversationInPath, tokenInFragment } from '../../../web/src/address.ts';

describe('conversationInPath', () => {
  it('reads the id of a conversation and nothing else', () => {
    const id = '0199aaaa-0000-7000-8000-000000000001';
    expect(conversationInPath(addressOf(id))).toBe(id);
    expect([
      conversationInPath('/'),
      conversationInPath('/c/x'),
      conversationInPath(`/c/${id}/y`),
    ]).toEqual([null, null, null]);
  });
});

describe('tokenInFragment', () => {
  it('takes the token of the fragment, without blanks around it', () => {
    expect(tokenInFragment('#token=%20abc%20')).toBe('abc');
    expect([tokenInFragment(''), tokenInFragment('#other=1'), tokenInFragment('#token=')]).toEqual([
      null,
      null,
      null,
    ]);
  });
});
