// Where each table's rows live when there are several databases. A test compares this with the schema: a new table has to
// be put in its place here.

export interface OwnedTable {
  readonly name: string;
  /** How a row says whose it is: itself, or through its conversation. */
  readonly owner: 'user_id' | 'conversation_id';
  /** The primary key. */
  readonly key: readonly string[];
}

/** Rows that move with their owner; what others refer to comes first. */
export const OWNED_TABLES: readonly OwnedTable[] = [
  { name: 'conversations', owner: 'user_id', key: ['conversation_id'] },
  { name: 'turns', owner: 'user_id', key: ['conversation_id', 'turn_id'] },
  { name: 'turn_requests', owner: 'user_id', key: ['turn_id'] },
  { name: 'ledger', owner: 'user_id', key: ['turn_id'] },
  { name: 'user_memory', owner: 'user_id', key: ['user_id', 'fact_id'] },
  { name: 'memory_sources', owner: 'user_id', key: ['user_id', 'source_turn_id', 'text_hash'] },
  { name: 'user_settings', owner: 'user_id', key: ['user_id'] },
  { name: 'conversation_summaries', owner: 'conversation_id', key: ['conversation_id', 'node_id'] },
];

/** Written in the directory only; copied to every shard, so that statements there may join them. */
export const COPIED_TABLES: readonly string[] = ['organisations', 'users'];

/** Of one database each: the directory's own, and what every database says of itself. */
export const LOCAL_TABLES: readonly string[] = [
  'api_keys',
  'daily_statistics',
  'erasures',
  'schema_migrations',
  'shard_map',
  'shard_slots',
  'slot_changes',
  'slot_guard',
  'slot_moves',
];
