import { strict as assert } from 'node:assert';
import { encode, mesobus } from '@mesobus/protos';
import { add, equals, noResources, type Resources } from '@mesobus/sdk/resources';
import test from 'ava';
import fc from 'fast-check';
import {
  type AgentEntry,
  applyEncoded,
  applyRecord,
  clearDirty,
  createLedger,
  dirtyShards,
  holdingKey,
  holdsResources,
  isCompleted,
  type Ledger,
  ledgerHash,
  recordsOf,
  recordsOfShard,
  shardCount,
} from '../src/core/index.ts';
import { aCluster, anyRecord, type Properties, written } from './records.ts';

const anyRecords = fc.array(anyRecord, { maxLength: 60, size: 'max' });
const base = aCluster.map(written);

function ledgerOf(records: Iterable<Parameters<typeof applyRecord>[1]>): Ledger {
  const ledger = createLedger();
  for (const record of records) applyRecord(ledger, record);
  return ledger;
}

/** As it comes out of a snapshot. */
function reloaded(ledger: Ledger): Ledger {
  const again = createLedger();
  for (const bytes of recordsOf(ledger)) assert.ok(applyEncoded(again, bytes));
  return again;
}

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const textOf = (ledger: Ledger, shard: number): string => [...recordsOfShard(ledger, shard)].map(hexOf).join();

function checkHoldings(agent: AgentEntry): void {
  const sums = new Map<string, Resources>();
  const tasks = [...agent.tasks].filter((task) => holdsResources(task.state));
  for (const { frameworkId, role, resources } of [...tasks, ...agent.executors.values()]) {
    if (resources.length === 0) continue;
    const key = holdingKey(frameworkId, role);
    sums.set(key, add(sums.get(key) ?? noResources, resources));
  }
  assert.deepEqual([...agent.holdings.keys()].sort(), [...sums.keys()].sort());
  for (const [key, holding] of agent.holdings) assert.ok(equals(holding.resources, sums.get(key) ?? noResources));
}

/** What must hold between the parts of a ledger after any record. */
function checkBooks(ledger: Ledger): void {
  for (const agent of ledger.agents.values()) {
    checkHoldings(agent);
    assert.ok(agent.cursor <= agent.lastCommand);
    for (const number of [...agent.commands.keys(), ...agent.launches.keys()]) {
      assert.ok(number > agent.cursor && number <= agent.lastCommand);
    }
    for (const task of agent.tasks) {
      assert.equal(ledger.frameworks.get(task.frameworkId)?.tasks.get(task.taskId), task);
      assert.equal(task.agentId, agent.id);
    }
  }
  for (const framework of ledger.frameworks.values()) {
    for (const task of framework.tasks.values()) {
      assert.equal(framework.completed.has(task), isCompleted(task));
      assert.equal(ledger.agents.get(task.agentId)?.tasks.has(task) ?? true, true);
    }
    for (const task of framework.completed) assert.equal(framework.tasks.get(task.taskId), task);
  }
  const counts = new Uint32Array(ledger.taskCounts.length);
  for (const { tasks } of ledger.frameworks.values()) {
    for (const { state } of tasks.values()) counts[state] = (counts[state] ?? 0) + 1;
  }
  assert.deepEqual(ledger.taskCounts, counts);
  for (const [name, agent] of ledger.agentsByName) assert.equal(ledger.agents.get(agent.id)?.record.agentName, name);
}

test('the books balance after any records, nonsense too', (t) => {
  const law = fc.property(anyRecords, (records) => {
    const ledger = ledgerOf(base);
    for (const record of records) {
      applyRecord(ledger, record);
      checkBooks(ledger);
    }
  });
  t.notThrows(() => fc.assert(law, { numRuns: 300 }));
});

test('a record that is applied twice changes nothing the second time', (t) => {
  const law = fc.property(anyRecords, (records) => {
    const ledger = ledgerOf(base);
    for (const record of records) {
      applyRecord(ledger, record);
      const once = ledgerHash(ledger);
      applyRecord(ledger, record);
      assert.equal(ledgerHash(ledger), once);
      checkBooks(ledger);
    }
  });
  t.notThrows(() => fc.assert(law, { numRuns: 100 }));
});

test('the records of a ledger make the same ledger', (t) => {
  const law = fc.property(anyRecords, (records) => {
    const ledger = ledgerOf([...base, ...records]);
    const again = reloaded(ledger);
    assert.equal(ledgerHash(again), ledgerHash(ledger));
    checkBooks(again);
    for (const [id, agent] of ledger.agents) {
      const { lastCommand, cursor, launches, holdings, tasks, executors } = again.agents.get(id) as AgentEntry;
      assert.deepEqual([lastCommand, cursor, tasks.size], [agent.lastCommand, agent.cursor, agent.tasks.size]);
      assert.deepEqual([...launches.keys()].sort(), [...agent.launches.keys()].sort());
      assert.equal(holdings.size, agent.holdings.size);
      assert.deepEqual([...executors.keys()].sort(), [...agent.executors.keys()].sort());
    }
    assert.deepEqual(again.taskCounts, ledger.taskCounts);
    assert.deepEqual([...again.agentsByName.keys()].sort(), [...ledger.agentsByName.keys()].sort());
    for (const [id, framework] of ledger.frameworks) {
      const completed = [...(again.frameworks.get(id)?.completed ?? [])].map(({ taskId }) => taskId);
      assert.deepEqual(
        completed,
        [...framework.completed].map(({ taskId }) => taskId),
      );
    }
  });
  t.notThrows(() => fc.assert(law, { numRuns: 500 }));
});

test('a ledger that was rebuilt goes on as the one that it was rebuilt from', (t) => {
  const law = fc.property(anyRecords, anyRecords, (before, after) => {
    const ledger = ledgerOf([...base, ...before]);
    const again = reloaded(ledger);
    for (const record of after) {
      applyRecord(ledger, record);
      applyRecord(again, record);
    }
    assert.equal(ledgerHash(again), ledgerHash(ledger));
  });
  t.notThrows(() => fc.assert(law, { numRuns: 300 }));
});

test('a shard that is not dirty gives the same bytes as before, and again when the ledger is made anew', (t) => {
  const law = fc.property(anyRecords, anyRecords, (before, after) => {
    const ledger = ledgerOf([...base, ...before]);
    const shards = Array.from({ length: shardCount }, (_, shard) => textOf(ledger, shard));
    clearDirty(ledger);
    for (const record of after) applyRecord(ledger, record);
    const dirty = new Set(dirtyShards(ledger));
    const again = reloaded(ledger);
    for (const [shard, text] of shards.entries()) {
      if (!dirty.has(shard)) assert.equal(textOf(ledger, shard), text);
      assert.equal(textOf(again, shard), textOf(ledger, shard));
    }
  });
  t.notThrows(() => fc.assert(law, { numRuns: 100 }));
});

test('a record does the same whether it comes encoded or decoded', (t) => {
  const law = fc.property(anyRecords, (records) => {
    const [decoded, encoded] = [ledgerOf(base), ledgerOf(base)];
    for (const record of records) {
      applyRecord(decoded, record);
      assert.ok(applyEncoded(encoded, encode(mesobus.v1.Record, record)));
    }
    assert.deepEqual(contentOf(encoded), contentOf(decoded));
    checkBooks(encoded);
  });
  t.notThrows(() => fc.assert(law, { numRuns: 200 }));
});

test('bytes that are no record are refused and change nothing', (t) => {
  const law = fc.property(fc.uint8Array({ maxLength: 60 }), anyRecords, fc.nat(), (noise, records, at) => {
    const ledger = ledgerOf([...base, ...records]);
    const cut = records.map((record) => encode(mesobus.v1.Record, record)).map((bytes) => bytes.subarray(0, at % 60));
    for (const bytes of [noise, ...cut]) {
      const before = ledgerHash(ledger);
      if (!applyEncoded(ledger, bytes)) assert.equal(ledgerHash(ledger), before);
      checkBooks(ledger);
    }
  });
  t.notThrows(() => fc.assert(law, { numRuns: 200 }));
});

/** A record of a snapshot, with numbers that fit nothing. */
const anySnapshot = fc
  .record({
    launched: anyRecord,
    latest: anyRecord,
    killIssued: fc.boolean(),
    departed: fc.boolean(),
    place: fc.nat(9),
  })
  .map(({ launched, latest, killIssued, departed, place }): Properties => {
    const of = { launched: launched.taskLaunched, latest: latest.taskChanged };
    return { taskSnapshot: { ...of, killIssued, departed, completedNumber: place } };
  });

test('the books balance also when records of snapshots stand where none should', (t) => {
  const facts = fc.oneof(
    anyRecord,
    anySnapshot,
    fc.nat(9).map((completedTasks) => ({ totalsSnapshot: { completedTasks } })),
  );
  const law = fc.property(fc.array(facts, { maxLength: 60, size: 'max' }), (records) => {
    const ledger = ledgerOf(base);
    for (const record of records) {
      applyRecord(ledger, record);
      checkBooks(ledger);
    }
    checkBooks(reloaded(ledger));
  });
  t.notThrows(() => fc.assert(law, { numRuns: 200 }));
});

const kindOf = (kind: 'role' | 'callRecorded'): typeof anyRecords =>
  anyRecords.map((records) => records.filter((record) => record.fact === kind));

test('the hash does not depend on the order of records about different things', (t) => {
  const law = fc.property(kindOf('role'), kindOf('callRecorded'), anyRecords, (roles, calls, records) => {
    const others = records.filter(({ fact }) => fact !== 'role' && fact !== 'callRecorded');
    const forth = ledgerOf([...base, ...others, ...roles, ...calls]);
    const back = ledgerOf([...calls, ...roles, ...base, ...others]);
    assert.equal(ledgerHash(forth), ledgerHash(back));
  });
  t.notThrows(() => fc.assert(law, { numRuns: 100 }));
});

const contentOf = (ledger: Ledger): string[] => [...recordsOf(ledger)].map(hexOf).sort();

test('the hash changes exactly when what the ledger holds does', (t) => {
  const law = fc.property(anyRecords, anyRecord, (records, extra) => {
    const ledger = ledgerOf([...base, ...records]);
    const [content, hash] = [contentOf(ledger), ledgerHash(ledger)];
    applyRecord(ledger, extra);
    assert.equal(ledgerHash(ledger) === hash, String(contentOf(ledger)) === String(content));
  });
  t.notThrows(() => fc.assert(law, { numRuns: 200 }));
});
