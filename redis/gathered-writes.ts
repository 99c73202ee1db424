// Commands of one turn of the event loop leave in one write. A step of the engine is followed by an append for each of its
// sequences: a system call each, and a wake-up of Redis and of every gateway for each, would cost more than the appends.
import type { Redis as Node } from 'ioredis';

/** @param client one node's connection, now and after it was lost */
export function gatherWrites(client: Node): void {
  const send = client.sendCommand.bind(client);
  let gathering: Node['stream'] | null = null;
  client.sendCommand = (command, stream) => {
    const socket = client.stream as Node['stream'] | undefined; // Not there before the first connection.
    if (socket !== undefined && socket !== gathering) {
      gathering = socket;
      socket.cork();
      setImmediate(() => {
        gathering = null;
        socket.uncork();
      });
    }
    return send(command, stream);
  };
}
