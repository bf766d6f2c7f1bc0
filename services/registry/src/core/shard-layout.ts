/*
 * The ledger is divided into a fixed number of shards, so that a snapshot writes again only what has changed. An agent
 * and all of its tasks, launches and commands are in one. Their order is that in which a ledger is made anew: frameworks
 * before the tasks that need them, the totals last.
 */

const agentShards = 1_024;
/** More than the minutes for which calls are remembered, so that those of an old minute do not change with the new. */
const callShards = 16;

const frameworks = 1;
const agents = frameworks + 1;
const operations = agents + agentShards;
const calls = operations + 1;
const unknown = calls + callShards;
const totals = unknown + 1;

interface Shards {
  readonly settings: number;
  readonly frameworks: number;
  readonly operations: number;
  readonly unknown: number;
  readonly totals: number;
}

/** Where the parts of a ledger are that have a shard of their own. */
export const shards: Shards = { settings: 0, frameworks, operations, unknown, totals };

export const shardCount: number = totals + 1;

/** The shard of an agent and all that is its. FNV-1a over the id. */
export function shardOfAgent(agentId: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < agentId.length; at += 1) hash = Math.imul(hash ^ agentId.charCodeAt(at), 0x01000193);
  return agents + (((hash ^ (hash >>> 16)) >>> 0) % agentShards);
}

export const isAgentShard = (shard: number): boolean => shard >= agents && shard < operations;

/** @param minute - any whole number */
export const shardOfMinute = (minute: number): number => calls + (((minute % callShards) + callShards) % callShards);

export const isCallShard = (shard: number): boolean => shard >= calls && shard < unknown;

/** What has changed, by shard. */
export interface ShardMarks {
  /** 1: changed since it was last cleared. */
  readonly dirty: Uint8Array;
  /** 1: changed since its hash was made. */
  readonly unhashed: Uint8Array;
  /** Two words for each shard. */
  readonly hashes: Uint32Array;
}

export const createShardMarks = (): ShardMarks => ({
  dirty: new Uint8Array(shardCount),
  unhashed: new Uint8Array(shardCount),
  hashes: new Uint32Array(2 * shardCount),
});

export function mark(marks: ShardMarks, shard: number): void {
  marks.dirty[shard] = 1;
  marks.unhashed[shard] = 1;
}
