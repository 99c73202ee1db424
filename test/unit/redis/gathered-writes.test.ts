import { Writable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { gatherWrites } from '../../../redis/gathered-writes.ts';

/** Keeps what each write to the system would have held. */
function recordingSocket(): { socket: Writable; writes: string[] } {
  const writes: string[] = [];
  const socket = new Writable({
    decodeStrings: false,
    write: (chunk: string, _encoding, done) => {
      writes.push(chunk);
      done();
    },
    writev: (chunks, done) => {
      writes.push(chunks.map(({ chunk }) => chunk as string).join(''));
      done();
    },
  });
  return { socket, writes };
}

/** As much of a client as writes commands. */
function clientOn(first: Writable | undefined) {
  const client = {
    stream: first,
    sendCommand(command: string): void {
      client.stream?.write(command);
    },
  };
  gatherWrites(client as unknown as Redis);
  return client;
}

describe('gatherWrites', () => {
  it('writes the commands of one turn of the event loop at once, in their order', async () => {
    const { socket, writes } = recordingSocket();
    const client = clientOn(socket);
    for (const command of ['a', 'b']) client.sendCommand(command);
    await Promise.resolve();
    client.sendCommand('c');
    expect(writes).toEqual([]);
    await nextTurn();
    expect(writes).toEqual(['abc']);
    client.sendCommand('d');
    await nextTurn();
    expect(writes).toEqual(['abc', 'd']);
  });

  it('gathers on each connection anew, and not before there is one', async () => {
    const [first, second] = [recordingSocket(), recordingSocket()];
    const client = clientOn(undefined);
    client.sendCommand('lost');
    client.stream = first.socket;
    for (const command of ['a', 'b']) client.sendCommand(command);
    first.socket.destroy();
    client.stream = second.socket;
    for (const command of ['c', 'd']) client.sendCommand(command);
    await nextTurn();
    expect(first.writes).toEqual([]);
    expect(second.writes).toEqual(['cd']);
  });
});
