import { mesobus, mesos } from '@mesobus/protos';
import test from 'ava';
import { applyEncoded, applyRecord, createLedger, type Ledger, ledgerHash, recordsOf } from '../src/core/index.ts';
import type { OwnLedger } from '../src/core/ledger.ts';
import { agentRecord, change, frameworkRecord, launch, type Properties, written } from './records.ts';

const { TASK_FINISHED, TASK_RUNNING } = mesos.v1.TaskState;
const agents = ['a1', 'a2', 'a3'];
const keptCompleted = 50;

/** A master that runs short tasks one after the other and lets the oldest completed ones go. */
class ShortTasks {
  readonly ledger: Ledger = createLedger();
  readonly #commands = new Map<string, number>();
  #at = 0;

  constructor() {
    for (const record of [frameworkRecord(), ...agents.map((id) => agentRecord(id))]) this.apply(record);
  }

  apply(record: Properties): void {
    applyRecord(this.ledger, record);
  }

  /** From its launch to the acknowledgement of its end. */
  run(number: number): void {
    const [taskId, agentId] = [`t${number}`, agents[number % agents.length] as string];
    const commandNumber = (this.#commands.get(agentId) ?? 0) + 1;
    this.#commands.set(agentId, commandNumber);
    this.#at += 100;
    const acceptedAtMs = this.#at;
    this.apply({ callRecorded: { callId: `c${number}`, complete: true, recordedAtMs: this.#at } });
    this.apply(launch(taskId, commandNumber, { agentId, acceptedAtMs }));
    this.#say(taskId, commandNumber, TASK_RUNNING, 1);
    this.#say(taskId, commandNumber, TASK_FINISHED, 2);
    this.apply({ taskChanged: { ...keys(taskId, commandNumber), state: TASK_FINISHED, acknowledgedNumber: 2 } });
    if (commandNumber % 20 === 0) this.apply({ commandsApplied: { agentId, cursor: commandNumber } });
    const completed = this.ledger.frameworks.get('f1')?.completed ?? new Set();
    for (const { taskId: oldest, commandNumber: itsCommand } of completed) {
      if (completed.size <= keptCompleted) break;
      this.apply({ taskRemoved: keys(oldest, itsCommand) });
    }
  }

  #say(taskId: string, commandNumber: number, state: mesos.v1.TaskState, updateNumber: number): void {
    const status = { taskId: { value: taskId }, state };
    this.apply(change(state, { taskId, commandNumber, updateNumber, status, changedAtMs: this.#at }));
  }

  /** How much there is of everything that could grow. */
  sizes(): Record<string, number> {
    const ledger = this.ledger as OwnLedger;
    const framework = ledger.frameworks.get('f1');
    const most = (count: (agent: (typeof own)[number]) => number): number => Math.max(...own.map(count));
    const own = [...ledger.agents.values()];
    return {
      tasks: framework?.tasks.size ?? 0,
      completed: framework?.completed.size ?? 0,
      ofAgent: most(({ tasks }) => tasks.size),
      launches: most(({ launches }) => launches.size),
      commands: most(({ commands, kills }) => commands.size + kills.size),
      calls: ledger.calls.size,
      minutes: ledger.recentCalls.byMinute.size,
      retired: ledger.retired.size,
      agents: [...ledger.agentsOfShard.values()].reduce((sum, { size }) => sum + size, 0),
      shared: ledger.shared.byText.size + ledger.shared.byBytes.size + (framework?.accounts.size ?? 0),
      warm: ledger.warm.tasks.length,
    };
  }
}

const keys = (taskId: string, commandNumber: number): mesobus.v1.TaskRemoved.$Properties => ({
  task: { frameworkId: 'f1', taskId },
  commandNumber,
});

test('a hundred thousand tasks later the ledger is no larger than after ten thousand', (t) => {
  const cluster = new ShortTasks();
  for (let number = 0; number < 10_000; number += 1) cluster.run(number);
  const early = cluster.sizes();
  for (let number = 10_000; number < 100_000; number += 1) cluster.run(number);
  const late = cluster.sizes();
  t.is(late['tasks'], keptCompleted);
  t.true((late['launches'] ?? 0) < 20);
  t.true((late['calls'] ?? 0) <= (11 * 60_000) / 100);
  for (const [name, size] of Object.entries(late)) t.true(size <= Math.max(early[name] ?? 0, keptCompleted), name);
});

test('a removed agent leaves nothing behind once its tasks have left', (t) => {
  const cluster = new ShortTasks();
  for (let number = 0; number < 1_000; number += 1) {
    const agentId = `gone${number}`;
    cluster.apply(agentRecord(agentId));
    cluster.apply(launch('t', 1, { agentId }));
    cluster.apply({ agentRemoved: { agentId } });
    cluster.apply(change(mesos.v1.TaskState.TASK_GONE, { taskId: 't' }));
    cluster.apply({ taskRemoved: keys('t', 1) });
  }
  t.like(cluster.sizes(), { tasks: 0, retired: 0, agents: agents.length });
});

test('a task that has been in the ledger for long is what it was when it was new', (t) => {
  const [recent, read] = [createLedger(), createLedger()];
  const status = { taskId: { value: 't0' }, state: TASK_RUNNING, message: 'up' };
  const records = [frameworkRecord(), agentRecord(), ...many(20_000)];
  records.splice(3, 0, change(TASK_RUNNING, { taskId: 't0', updateNumber: 1, status }));
  for (const record of records) {
    applyRecord(recent, record);
    applyEncoded(read, mesobus.v1.Record.encode(record).finish());
  }
  const oldest = recent.frameworks.get('f1')?.tasks.get('t0');
  t.deepEqual(oldest?.launched, written(many(1)[0] as Properties).taskLaunched);
  t.is(oldest?.status?.message, 'up');
  t.is(ledgerHash(recent), ledgerHash(read));
});

test('what is said of a task that has been in the ledger for long is taken as of a new one', (t) => {
  const [first, ...others] = many(20_000) as [Properties, ...Properties[]];
  const status = { taskId: { value: 't0' }, state: TASK_RUNNING, message: 'up' };
  const running = change(TASK_RUNNING, { taskId: 't0', updateNumber: 1, status, changedAtMs: 11 });
  const killTask = { task: { frameworkId: 'f1', taskId: 't0' } };
  const kill = { commandIssued: { agentId: 'a1', command: { number: 30_000, killTask } } };
  const acknowledged = change(TASK_RUNNING, { taskId: 't0', acknowledgedNumber: 1, changedAtMs: 12 });
  const ledgerOf = (records: Properties[]): Ledger => {
    const ledger = createLedger();
    for (const record of [frameworkRecord(), agentRecord(), ...records]) applyRecord(ledger, record);
    return ledger;
  };
  const long = ledgerOf([first, running, ...others, kill, acknowledged]);
  const fresh = ledgerOf([...others, first, running, kill, acknowledged]);
  const task = long.frameworks.get('f1')?.tasks.get('t0');
  t.like(task, { state: TASK_RUNNING, updateNumber: 1, acknowledgedNumber: 1, changedAtMs: 12, killIssued: true });
  t.is(task?.status?.message, 'up');
  t.is(ledgerHash(long), ledgerHash(fresh));
});

const many = (count: number): Properties[] => Array.from({ length: count }, (_, at) => launch(`t${at}`, at + 1));

test('what a newer version wrote comes out of a snapshot as it went in', (t) => {
  const marked = (kind: string): Buffer => Buffer.from(kind.padEnd(12).slice(0, 12));
  const field = (bytes: Uint8Array): Buffer => Buffer.of(0xfa, 0x3f, bytes.length, ...bytes);
  const facts: Properties[] = [
    frameworkRecord(),
    agentRecord(),
    launch(),
    change(TASK_RUNNING, { status: { taskId: { value: 't1' }, state: TASK_RUNNING } }),
    {
      commandIssued: { agentId: 'a1', command: { number: 2, killTask: { task: { frameworkId: 'f1', taskId: 't1' } } } },
    },
    { callRecorded: { callId: 'c', recordedAtMs: 1 } },
    { operation: { agentId: 'a1', commandNumber: 1 } },
    { role: { role: 'ads' } },
    { maintenance: {} },
    { cluster: { clusterIncarnation: 1 } },
  ];
  const ledger = createLedger();
  for (const record of facts) {
    const [[kind, fact] = []] = Object.entries(record);
    const newer = { [kind as string]: { ...(fact as object), $unknowns: [field(marked(kind as string))] } };
    t.true(applyEncoded(ledger, mesobus.v1.Record.encode(newer).finish()));
  }
  const alien = field(Buffer.from('another kind'));
  t.true(applyEncoded(ledger, alien));

  const again = createLedger();
  for (const bytes of recordsOf(ledger)) t.true(applyEncoded(again, bytes));
  const kept = Buffer.concat([...recordsOf(again)]);
  for (const record of facts) t.true(kept.includes(marked(Object.keys(record)[0] ?? '')), Object.keys(record)[0]);
  t.true(kept.includes(alien));
});
