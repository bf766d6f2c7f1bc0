import assert from 'node:assert/strict';
import { mesos } from '@mesobus/protos';
import test from 'ava';
import fc from 'fast-check';
import { type CheckResult, maxChecksPerTick, maxUpdatesWaiting } from '../src/core/checks.ts';
import type { Effect } from '../src/core/index.ts';
import { acknowledge, kill, ofKind, Reason, type RunOptions, run, TaskState, updatesIn, World } from './world.ts';

const { CheckInfo, HealthCheck } = mesos.v1;
type RunCheck = Extract<Effect, { kind: 'run_check' }>;
type Update = mesos.v1.TaskStatus.$Properties;

const fine: CheckResult = { kind: 'tcp', succeeded: true, message: '' };
const refused: CheckResult = { kind: 'tcp', succeeded: false, message: 'nobody listens' };
const exited = (code: number, output = ''): CheckResult => ({ kind: 'command', status: code << 8, output });
const answered = (statusCode: number): CheckResult => ({ kind: 'http', statusCode });

const overTcp = (extra: Partial<mesos.v1.HealthCheck.$Properties> = {}): RunOptions => ({
  task: { healthCheck: { type: HealthCheck.Type.TCP, tcp: { port: 80 }, ...extra } },
});
const byCommand: RunOptions = {
  task: { check: { type: CheckInfo.Type.COMMAND, command: { command: { value: 'true' } }, delaySeconds: 0 } },
};

/** A world in which task t1 runs. */
function running(options: RunOptions): World {
  const world = new World().ready();
  world.taken(run(1, 't1', options));
  world.started(world.containerId);
  return world;
}

const checksIn = (effects: readonly Effect[]): RunCheck[] => ofKind(effects, 'run_check');

function answer(world: World, { containerId, check, run }: RunCheck, result: CheckResult): Update[] {
  hear(world);
  world.input({ kind: 'check_result', containerId, check, run, result });
  return updatesIn(world.sync()).map(({ status }) => status as Update);
}

/** The leader takes what it is told; the framework acknowledges nothing. */
function hear(world: World): void {
  for (let [next] = world.sent; next !== undefined; [next] = world.sent) {
    if (next.request.register) world.registered();
    else world.answer({ taskUpdatesTaken: {} });
  }
}

/** Lets time pass until the next check, and says what is seen. */
function look(world: World, result: CheckResult): Update[] {
  for (let ticks = 0; ticks < 1_000; ticks += 1) {
    const [check] = checksIn(world.tick(100));
    if (check !== undefined) return answer(world, check, result);
  }
  throw new Error('no check in 100 s');
}

test('a check is run after its delay, and again its interval after the one before has ended', (t) => {
  const world = running(overTcp());
  t.deepEqual(checksIn(world.tick(14_900)), []);
  const [first] = checksIn(world.tick(100));
  t.like(first, { check: 'health', run: 1, probe: { kind: 'tcp', port: 80, ipv6: false }, timeoutMs: 20_000 });
  t.deepEqual(checksIn(world.tick(60_000)), []);
  answer(world, first as RunCheck, fine);
  t.deepEqual(checksIn(world.tick(9_900)), []);
  t.is(checksIn(world.tick(100)).length, 1);
});

test('a command is checked in the environment of its task', (t) => {
  const world = running(byCommand);
  const [check] = checksIn(world.tick(100));
  t.like(check, { probe: { kind: 'command', command: { value: 'true', shell: true } } });
  t.like(check?.task, { frameworkId: 'F', taskId: 't1', executorId: 't1', agentId: 'm1-S0' });
  t.regex(check?.task.sandbox ?? '', /^F\/t1\//);
});

const verdicts: readonly (readonly [string, CheckResult, boolean])[] = [
  ['exit 0', exited(0), true],
  ['exit 1', exited(1), false],
  ['a signal', { kind: 'command', status: 9, output: '' }, false],
  ['status 200', answered(200), true],
  ['status 399', answered(399), true],
  ['status 400', answered(400), false],
  ['status 199', answered(199), false],
  ['a connection', fine, true],
  ['no connection', refused, false],
  ['no answer in time', { kind: 'failed', message: 'no answer within 20 s' }, false],
];
for (const [what, result, healthy] of verdicts) {
  test(`a task is ${healthy ? 'healthy' : 'unhealthy'} after ${what}`, (t) => {
    const world = running(overTcp({ gracePeriodSeconds: 0 }));
    t.like(look(world, result), [{ state: TaskState.TASK_RUNNING, healthy }]);
  });
}

test('a change of health is an update with its reason, and the same again is not', (t) => {
  const world = running(overTcp({ gracePeriodSeconds: 0 }));
  const reason = Reason.REASON_TASK_HEALTH_CHECK_STATUS_UPDATED;
  t.like(look(world, fine), [{ state: TaskState.TASK_RUNNING, reason, healthy: true }]);
  t.deepEqual(look(world, fine), []);
  t.like(look(world, refused), [{ reason, healthy: false, message: 'The health check fails: nobody listens' }]);
  t.deepEqual(look(world, refused), []);
  t.like(look(world, fine), [{ reason, healthy: true }]);
});

test('failures within the grace do not count until the first success; then they do', (t) => {
  const world = running(
    overTcp({ delaySeconds: 0, intervalSeconds: 1, gracePeriodSeconds: 30, consecutiveFailures: 1 }),
  );
  for (let count = 0; count < 5; count += 1) t.deepEqual(look(world, refused), []);
  t.like(look(world, fine), [{ healthy: true }]);
  t.like(look(world, refused), [{ healthy: false }]);
  t.is(ofKind(world.effects, 'control').length, 1);
});

test('failures up to the limit in a row kill the task: TASK_KILLED, unhealthy, with why', (t) => {
  const world = running(overTcp({ gracePeriodSeconds: 0 }));
  look(world, refused);
  look(world, refused);
  look(world, fine);
  look(world, refused);
  look(world, refused);
  t.deepEqual(ofKind(world.effects, 'control'), []);
  look(world, refused);
  const [control] = ofKind(world.effects, 'control');
  t.deepEqual(control?.control, { kind: 'term', graceMs: 3_000 });
  t.deepEqual(checksIn(world.tick(60_000)), []);
  hear(world);
  const [update] = updatesIn(world.exited(world.containerId, 15, true));
  t.like(update?.status, { state: TaskState.TASK_KILLED, healthy: false });
  const why =
    'Killed: its health check has failed 3 times in a row: nobody listens: Command terminated with signal SIGTERM';
  t.is(update?.status?.message, why);
});

for (const compacted of [false, true]) {
  test(`why an unhealthy task is killed outlives the agent${compacted ? ', also in a compacted journal' : ''}`, (t) => {
    const world = running(overTcp({ gracePeriodSeconds: 0, consecutiveFailures: 1 }));
    look(world, exited(7, 'cannot connect'));
    if (compacted) world.compact();
    const { containerId } = world;
    world.containers.set(containerId, {
      running: false,
      stopped: true,
      end: { kind: 'exited', containerId, status: 15, stopped: true, exitedAtMs: world.at },
    });
    world.restart();
    world.registered();
    const update = updatesIn(world.effects).at(-1)?.status;
    t.like(update, { state: TaskState.TASK_KILLED, healthy: false });
    t.regex(
      update?.message ?? '',
      /^Killed: its health check has failed: Command exited with status 7: cannot connect/,
    );
  });
}

test('a task that was killed by others before is not called unhealthy', (t) => {
  const world = running(overTcp({ delaySeconds: 0, gracePeriodSeconds: 0, consecutiveFailures: 1 }));
  const [check] = checksIn(world.tick(100));
  world.taken(kill(2, 't1'));
  t.deepEqual(answer(world, check as RunCheck, refused), []);
  hear(world);
  const [update] = updatesIn(world.exited(world.containerId, 15, true));
  t.like(update?.status, { state: TaskState.TASK_KILLED, message: 'Command terminated with signal SIGTERM' });
  t.false(Object.hasOwn(update?.status ?? {}, 'healthy'));
});

test('a general check says what it sees when that changes, and never kills', (t) => {
  const world = running(byCommand);
  const reason = Reason.REASON_TASK_CHECK_STATUS_UPDATED;
  const type = CheckInfo.Type.COMMAND;
  t.like(look(world, exited(0)), [{ state: TaskState.TASK_RUNNING, reason }]);
  t.deepEqual(look(world, exited(0)), []);
  for (let code = 1; code < 6; code += 1) {
    t.deepEqual(look(world, exited(code))[0]?.checkStatus, { type, command: { exitCode: code } });
  }
  t.deepEqual(look(world, { kind: 'failed', message: 'too slow' })[0]?.checkStatus, { type, command: {} });
  t.deepEqual(ofKind(world.effects, 'control'), []);
});

test('the first update of a checked task says that nothing was seen yet, and the last what was', (t) => {
  const world = new World().ready();
  const check = { type: CheckInfo.Type.HTTP, http: { port: 80 }, delaySeconds: 0 };
  world.taken(run(1, 't1', { task: { check } }));
  const [running] = updatesIn(world.started(world.containerId));
  t.deepEqual(running?.status?.checkStatus, { type: CheckInfo.Type.HTTP, http: {} });
  look(world, answered(204));
  const [ended] = updatesIn(world.exited(world.containerId, 0));
  t.deepEqual(ended?.status?.checkStatus, { type: CheckInfo.Type.HTTP, http: { statusCode: 204 } });
});

test('a task with both checks says both in one update', (t) => {
  const world = running({ task: { ...overTcp({ delaySeconds: 0 }).task, ...byCommand.task } });
  const checks = checksIn(world.tick(100));
  t.deepEqual(checks.map(({ check }) => check).sort(), ['general', 'health']);
  const [health, general] = checks as [RunCheck, RunCheck];
  answer(world, health, fine);
  t.like(answer(world, general, exited(3)), [{ healthy: true, checkStatus: { command: { exitCode: 3 } } }]);
});

test('a paused task is not checked, and what was asked of it before does not count', (t) => {
  const world = running(overTcp({ delaySeconds: 0, gracePeriodSeconds: 0, consecutiveFailures: 1 }));
  const [check] = checksIn(world.tick(100));
  const launch = [...world.state.launches.values()][0];
  assert(launch !== undefined);
  launch.paused = true;
  t.deepEqual(checksIn(world.tick(60_000)), []);
  launch.paused = false;
  t.deepEqual(answer(world, check as RunCheck, refused), []);
  t.like(look(world, fine), [{ healthy: true }]);
});

test('that there was no looking at a task says nothing of it', (t) => {
  const world = running(overTcp({ gracePeriodSeconds: 0, consecutiveFailures: 1 }));
  for (let count = 0; count < 3; count += 1) t.deepEqual(look(world, { kind: 'unknown', message: 'not there' }), []);
  t.like(look(world, fine), [{ healthy: true }]);
});

test('after a restart of the agent checks begin anew, not all at one time', (t) => {
  const world = new World().ready();
  const ids = Array.from({ length: 10 }, (_, index) => `t${index}`);
  world.taken(...ids.map((id, index) => run(index + 1, id, overTcp())));
  for (const containerId of world.containers.keys()) world.started(containerId);
  world.restart();
  world.registered();
  t.deepEqual(checksIn(world.tick(14_900)), []);
  const times = new Set<number>();
  let count = 0;
  for (let ticks = 0; ticks < 110; ticks += 1) {
    const due = checksIn(world.tick(100)).length;
    count += due;
    if (due > 0) times.add(ticks);
  }
  t.is(count, 10);
  t.true(times.size > 5, `${times.size} moments`);
});

test('a bounded number of checks begins at a time, and each comes to its turn', (t) => {
  const world = new World().ready();
  const count = 2 * maxChecksPerTick + 5;
  world.taken(
    ...Array.from({ length: count }, (_, index) => run(index + 1, `t${index}`, overTcp({ delaySeconds: 0 }))),
  );
  for (const containerId of world.containers.keys()) world.started(containerId);
  const batches = [0, 1, 2, 3].map(() => checksIn(world.tick(100)));
  t.deepEqual(
    batches.map(({ length }) => length),
    [maxChecksPerTick, maxChecksPerTick, 5, 0],
  );
  t.is(new Set(batches.flat().map(({ containerId }) => containerId)).size, count);
});

test('while nobody acknowledges, updates of checks are bounded; what is true then is said once there is room', (t) => {
  const world = running({
    task: { check: { ...byCommand.task?.check, type: CheckInfo.Type.COMMAND, intervalSeconds: 0 } },
  });
  for (let code = 0; code < 2 * maxUpdatesWaiting; code += 1) look(world, exited(code));
  const [launch] = world.state.launches.values();
  t.is(launch?.pending.length, maxUpdatesWaiting);
  world.taken(acknowledge('t1', launch?.pending[0]?.status.uuid));
  t.like(look(world, exited(99)), [{ checkStatus: { command: { exitCode: 99 } } }]);
});

test('an unhealthy task of a group takes the others along', (t) => {
  const world = new World().ready();
  const task = (taskId: string, extra: object = {}) => ({
    ...{ name: taskId, taskId: { value: taskId }, agentId: { value: 'm1-S0' }, command: { value: 'sleep 60' } },
    ...extra,
  });
  const [framework] = [run(1, 'x').runTask?.framework];
  const executor = { executorId: { value: 'E' }, type: mesos.v1.ExecutorInfo.Type.DEFAULT };
  const checked = overTcp({ delaySeconds: 0, gracePeriodSeconds: 0, consecutiveFailures: 1 }).task;
  const group = { tasks: [task('t1', checked), task('t2')] };
  world.taken({ number: 1, runTaskGroup: { framework, executor, group, run: { number: 1 } } });
  const containers = ofKind(world.effects, 'start').map(({ containerId }) => containerId);
  for (const containerId of containers) world.started(containerId);
  look(world, refused);
  world.exited(containers[0] ?? '', 15, true);
  const killed = ofKind(world.effects, 'control').map(({ containerId }) => containerId);
  t.deepEqual(killed, containers);
});

test('health says what the results say, whatever they are', (t) => {
  const limits = fc.record({ grace: fc.nat(5), limit: fc.integer({ min: 1, max: 4 }) });
  const results = fc.array(fc.constantFrom('fine', 'refused', 'unknown'), { maxLength: 30, size: 'max' });
  const law = fc.property(limits, results, ({ grace, limit }, results) => {
    const interval = { delaySeconds: 1, intervalSeconds: 1, gracePeriodSeconds: grace };
    const world = running(overTcp({ ...interval, consecutiveFailures: limit }));
    // Told anew, in the simplest way: which of them count, how it changes, and when there are too many in a row.
    const counted: boolean[] = [];
    const heard: (boolean | null | undefined)[] = [];
    let killed = false;
    for (const update of [...(world.state.launches.values().next().value?.pending ?? [])]) {
      world.taken(acknowledge('t1', update.status.uuid)); // those of its start
    }
    for (const [index, result] of results.entries()) {
      if (killed) {
        assert.deepEqual(checksIn(world.tick(1_000)), []);
        continue;
      }
      const said = { fine, refused, unknown: { kind: 'unknown', message: '' } as const }[result];
      for (const { healthy, uuid } of look(world, said)) {
        heard.push(healthy);
        world.taken(acknowledge('t1', uuid));
      }
      const inGrace = index + 1 <= grace && !counted.includes(true);
      if (result === 'fine' || (result === 'refused' && !inGrace)) counted.push(result === 'fine');
      const last = counted.slice(-limit);
      killed = last.length === limit && !last.includes(true);
      assert.equal(ofKind(world.effects, 'control').length, killed ? 1 : 0);
    }
    assert.deepEqual(
      heard,
      counted.filter((healthy, index) => healthy !== counted[index - 1]),
    );
  });
  t.notThrows(() => fc.assert(law, { numRuns: 60 }));
});
