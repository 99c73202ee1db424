// The second wall on the wire (decision 0021): a statement says for whom it runs in the same round trip and the same
// transaction, so nothing is left on the connection for whoever borrows it next.
import { Query } from 'pg';
import type { QueryConfig } from 'pg';
import type { UserId } from '../contracts/ids.ts';
import { AnsweredClient } from './answered-client.ts';
import type { TimedConfig } from './answered-client.ts';

/**
 * Whose rows a statement may see: one user's; `directory`: users and keys, to find out who is calling; `sweep`: everybody's,
 * for the background's work.
 */
export type Sight = UserId | 'directory' | 'sweep';

export interface SeeingConfig extends TimedConfig {
  readonly sight?: Sight;
}

/** Prepared when a connection is made, so that it costs a bind and an execute beside a statement. */
export const SET_SIGHT = Object.freeze({
  name: 'sight',
  text: `select set_config('app.user_id', $1, true)`,
  values: [''],
});

/** What pg's query does on the wire; its types leave it out. */
interface WireQuery {
  prepare(connection: WireConnection): void;
  handleDataRow(message: unknown): void;
  handleCommandComplete(message: unknown, connection: unknown): void;
}

interface WireConnection {
  parse(message: { text: string }): void;
  bind(message: { statement: string; values: readonly string[] }): void;
  execute(message: { portal: string }): void;
}

/** A pg client that honours `sight` in a statement's configuration. */
export class WalledClient extends AnsweredClient {
  protected override made(config: SeeingConfig, values: unknown[] | undefined): unknown {
    const { sight } = config;
    return sight === undefined ? super.made(config, values) : seeing(config, sight);
  }
}

/**
 * The messages of both go out before the one Sync. Up to it all is one transaction, in which set_config is local; a begin
 * takes that transaction on, so it holds until its end. What the server answers to the first is nobody's to read.
 */
function seeing(config: SeeingConfig, sight: Sight): Query {
  const query = new Query({ ...config, queryMode: 'extended' } as QueryConfig);
  const wire = query as unknown as WireQuery;
  const prepare = wire.prepare.bind(query);
  const handleDataRow = wire.handleDataRow.bind(query);
  const handleCommandComplete = wire.handleCommandComplete.bind(query);
  // A statement without a name may be on a connection that keeps no names (a pooler's): then this has none either.
  const name = config.name === undefined ? '' : SET_SIGHT.name;
  let isSet = false;
  wire.prepare = (connection) => {
    if (name === '') connection.parse({ text: SET_SIGHT.text });
    connection.bind({ statement: name, values: [sight] });
    connection.execute({ portal: '' });
    prepare(connection);
  };
  wire.handleDataRow = (message) => {
    if (isSet) handleDataRow(message);
  };
  wire.handleCommandComplete = (message, connection) => {
    if (isSet) handleCommandComplete(message, connection);
    isSet = true;
  };
  return query;
}

/** The same without names: each statement is parsed and planned anew, and gone with its transaction. */
export class UnnamedClient extends WalledClient {
  override query(...args: unknown[]): never {
    const [first, ...rest] = args;
    if (typeof first !== 'object' || first === null || !('name' in first))
      return super.query(...args);
    const { name: _, ...unnamed } = first;
    return super.query(unnamed, ...rest);
  }
}
