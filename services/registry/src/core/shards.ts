import { encode, mesobus, withUnknown } from '@mesobus/protos';
import { type Ledger, noCluster, type OwnAgent, type OwnLedger } from './ledger.ts';
import { isAgentShard, isCallShard, shardCount, shardOfMinute, shards } from './shard-layout.ts';

export { shardCount } from './shard-layout.ts';

const v1 = mesobus.v1;
type Properties = mesobus.v1.Record.$Properties;

/** The shards that have changed since {@link clearDirty}, or since the ledger was made; ascending. */
export function dirtyShards(ledger: Ledger): number[] {
  const found: number[] = [];
  for (const [shard, dirty] of (ledger as OwnLedger).marks.dirty.entries()) if (dirty === 1) found.push(shard);
  return found;
}

/** Says that every shard is as it was written, or as it was read. */
export function clearDirty(ledger: Ledger): void {
  (ledger as OwnLedger).marks.dirty.fill(0);
}

/**
 * The encoded records of one shard. Those of all shards, applied in ascending order of shard to an empty ledger, make
 * exactly this one, and none of them is void. A shard that has not changed gives the same bytes again.
 *
 * @param shard - from 0, below {@link shardCount}
 */
export function* recordsOfShard(ledger: Ledger, shard: number): Generator<Uint8Array> {
  for (const view of viewsOfShard(ledger, shard)) yield Buffer.from(view);
}

/**
 * The same without copies: each record holds until the next one is taken. Bytes of their own for a million tasks, which
 * lie outside of the heap, would have all of the heap collected again and again.
 */
export function* viewsOfShard(ledger: Ledger, shard: number): Generator<Uint8Array> {
  for (const facts of factsOf(ledger as OwnLedger, shard)) yield facts instanceof Uint8Array ? facts : encoded(facts);
}

/** The encoded records of all shards, in order. */
export function* recordsOf(ledger: Ledger): Generator<Uint8Array> {
  for (let shard = 0; shard < shardCount; shard += 1) yield* recordsOfShard(ledger, shard);
}

const encoded = (facts: Properties): Uint8Array => encode(v1.Record, facts);

function factsOf(ledger: OwnLedger, shard: number): Iterable<Properties | Uint8Array> {
  if (isAgentShard(shard)) return agentFacts(ledger, shard);
  if (isCallShard(shard)) return callFacts(ledger, shard);
  if (shard === shards.settings) return settingFacts(ledger);
  if (shard === shards.frameworks) return frameworkFacts(ledger);
  if (shard === shards.operations) return operationFacts(ledger);
  return shard === shards.totals ? totalFacts(ledger) : ledger.unknown.values();
}

function* settingFacts(ledger: OwnLedger): Generator<Properties> {
  if (ledger.cluster !== noCluster) yield clusterFact(ledger);
  for (const role of ledger.roles.values()) yield { role };
  if (ledger.maintenance !== undefined) yield { maintenance: ledger.maintenance };
}

function clusterFact({ cluster, clusterUnknown }: OwnLedger): Properties {
  const { incarnation, minimumCapabilities, ...rest } = cluster;
  const known = { clusterIncarnation: incarnation, minimumCapabilities: [...minimumCapabilities], ...rest };
  return { cluster: withUnknown(known, clusterUnknown) };
}

function* frameworkFacts(ledger: OwnLedger): Generator<Properties> {
  for (const { record } of ledger.frameworks.values()) yield { framework: record };
}

function* operationFacts(ledger: OwnLedger): Generator<Properties> {
  for (const operation of ledger.operations.values()) yield { operation };
}

function* callFacts({ recentCalls }: OwnLedger, shard: number): Generator<Properties> {
  for (const [minute, ids] of recentCalls.byMinute) {
    if (shardOfMinute(minute) !== shard) continue;
    for (const id of ids) {
      const call = recentCalls.entries.get(id);
      if (call !== undefined) yield { callRecorded: call.record };
    }
  }
}

function* totalFacts({ completedTasks }: OwnLedger): Generator<Properties> {
  if (completedTasks > 0) yield { totalsSnapshot: { completedTasks } };
}

// ---- agents

function* agentFacts(ledger: OwnLedger, shard: number): Generator<Properties | Uint8Array> {
  for (const agent of ledger.agentsOfShard.get(shard) ?? []) {
    if (agent.removed) yield* retiredFacts(agent);
    else yield* presentFacts(agent);
  }
}

function* presentFacts(agent: OwnAgent): Generator<Properties | Uint8Array> {
  yield { agent: agent.record };
  if (agent.cursor > 0) yield { commandsApplied: { agentId: agent.id, cursor: agent.cursor } };
  for (const launch of agent.launches.values()) for (const task of launch.group ?? [launch]) yield task.encode();
  for (const task of agent.tasks) if (task.commandNumber <= agent.cursor) yield task.encode();
  for (const { record } of agent.executors.values()) yield { executor: record };
  for (const commandIssued of agent.commands.values()) yield { commandIssued };
}

/** Of an agent that was removed only its id counts, for as long as there are tasks of it. */
function* retiredFacts({ id: agentId, tasks }: OwnAgent): Generator<Properties | Uint8Array> {
  yield { agent: { agentId } };
  for (const task of tasks) yield task.encode();
  yield { agentRemoved: { agentId } };
}
