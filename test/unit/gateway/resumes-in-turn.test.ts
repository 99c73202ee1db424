import { EventEmitter } from 'node:events';
import type { Request, Response } from 'express';
import { resumesInTurn } from '../../../gateway/resumes-in-turn.ts';
import { STREAM_OPENED } from '../../../gateway/sse.ts';
import { Turnstile } from '../../../gateway/turnstile.ts';

const STREAM = '/conversations/c/turns/t/stream';

/** Requests sent through the handler; `passed` holds the indexes of those it let go on. */
function ask(requests: readonly { method: string; path: string }[], width: number) {
  const handler = resumesInTurn({ resumes: new Turnstile(width) });
  const passed: number[] = [];
  const responses = requests.map((request, index) => {
    const response = Object.assign(new EventEmitter(), { closed: false });
    const next = (): void => void passed.push(index);
    void handler(request as Request, response as unknown as Response, next);
    return response;
  });
  return { passed, responses };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('resumesInTurn', () => {
  it('lets a reader in when one before it has its stream or has gone, in the order they came', async () => {
    const { passed, responses } = ask(Array(4).fill({ method: 'GET', path: STREAM }), 2);
    expect(passed).toEqual([0, 1]);
    responses[1]?.emit(STREAM_OPENED);
    await settled();
    expect(passed).toEqual([0, 1, 2]);
    responses[0]?.emit('close');
    await settled();
    expect(passed).toEqual([0, 1, 2, 3]);
    for (const response of responses) response.emit('close');
  });

  it('passes over readers who have gone while they waited', async () => {
    const { passed, responses } = ask(Array(3).fill({ method: 'GET', path: STREAM }), 1);
    Object.assign(responses[1] ?? {}, { closed: true });
    responses[0]?.emit(STREAM_OPENED);
    await settled();
    expect(passed).toEqual([0, 2]);
    responses[2]?.emit('close');
  });

  it('holds up nothing but resumes', () => {
    const others = [
      { method: 'POST', path: '/conversations/c/turns' },
      { method: 'GET', path: '/conversations/c' },
      { method: 'DELETE', path: STREAM },
    ];
    const { passed, responses } = ask([{ method: 'GET', path: STREAM }, ...others], 1);
    expect(passed).toEqual([0, 1, 2, 3]);
    responses[0]?.emit('close');
  });
});
