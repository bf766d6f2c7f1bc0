import { mesos } from '@mesobus/protos';
import test from 'ava';
import { goneExitCode } from '../src/core/on-shutdown-asked.ts';
import {
  acknowledge,
  agentId,
  kill,
  kindsIn,
  ofKind,
  Reason,
  run,
  Source,
  statesIn,
  TaskState,
  updatesIn,
  World,
} from './world.ts';

test('a command has no effect and no answer before its record is durable', (t) => {
  const world = new World().ready();
  t.deepEqual(kindsIn(world.commands([run(1, 't1')])), ['append']);
  const effects = world.sync();
  t.deepEqual(kindsIn(effects), ['start', 'reply', 'send']);
  t.deepEqual(ofKind(effects, 'reply')[0]?.message, { cursor: 1 });
});

test('a command that was taken is not taken again, and the cursor says so', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  const effects = world.commands([run(1, 't1')]);
  t.deepEqual(kindsIn(effects), ['reply']);
  t.deepEqual(ofKind(effects, 'reply')[0]?.message, { cursor: 1 });
});

test('a repetition that overtakes the disk is answered only when the disk has the command', (t) => {
  const world = new World().ready();
  world.commands([run(1, 't1')]);
  t.deepEqual(kindsIn(world.commands([run(1, 't1')])), []);
  t.is(ofKind(world.sync(), 'reply').length, 2);
});

test('a command behind a gap is left, and the cursor says from where to send again', (t) => {
  const world = new World().ready();
  const effects = world.taken(run(1, 't1'), run(3, 't3'));
  t.deepEqual(
    ofKind(effects, 'start').map(({ taskId }) => taskId),
    ['t1'],
  );
  t.deepEqual(ofKind(effects, 'reply')[0]?.message, { cursor: 1 });
});

test('commands that come in the wrong order are taken in the right one', (t) => {
  const world = new World().ready();
  const effects = world.taken(run(2, 't2'), run(1, 't1'));
  t.deepEqual(
    ofKind(effects, 'start').map(({ taskId }) => taskId),
    ['t1'],
  );
  t.deepEqual(
    ofKind(world.taken(run(2, 't2')), 'start').map(({ taskId }) => taskId),
    ['t2'],
  );
});

const refusals = [
  ['of another process', { incarnation: 'other' }, 'incarnation_superseded'],
  ['for another agent id', { agentId: 'm1-S9' }, 'agent_unknown'],
] as const;
for (const [what, extra, code] of refusals) {
  test(`commands ${what} are refused with ${code}`, (t) => {
    const world = new World().ready();
    const effects = world.commands([run(1, 't1')], extra);
    t.deepEqual(kindsIn(effects), ['refuse']);
    t.is(ofKind(effects, 'refuse')[0]?.code, code);
    t.is(world.state.cursor, 0);
  });
}

test('only the highest epoch is obeyed, also after a restart', (t) => {
  const world = new World().ready();
  world.epoch = { incarnation: 1, epoch: 7 };
  world.taken(run(1, 't1'));
  world.ready();
  world.epoch = { incarnation: 1, epoch: 6 };
  const effects = world.commands([run(2, 't2')]);
  t.is(ofKind(effects, 'refuse')[0]?.code, 'superseded_master');
  world.epoch = { incarnation: 2, epoch: 1 };
  t.deepEqual(
    ofKind(world.taken(run(2, 't2')), 'start').map(({ taskId }) => taskId),
    ['t2'],
  );
});

test('commands that overtake the answer to the first registration are taken', (t) => {
  const world = new World();
  world.restart();
  const effects = world.taken(run(1, 't1'));
  t.is(ofKind(effects, 'start')[0]?.agentId, agentId);
});

test('a launch whose kill stands in the same batch is not started', (t) => {
  const world = new World().ready();
  const effects = world.taken(run(1, 't1'), kill(2, 't1'));
  t.deepEqual(ofKind(effects, 'start'), []);
  t.deepEqual(statesIn(effects), ['TASK_STARTING 1', 'TASK_KILLED 2']);
  t.is(updatesIn(effects)[1]?.status?.reason, Reason.REASON_TASK_KILLED_DURING_LAUNCH);
  t.deepEqual(ofKind(effects, 'reply')[0]?.message, { cursor: 2 });
});

test('a kill of an unknown task is answered as the end of the launch that it stands for', (t) => {
  const world = new World().ready();
  const [update] = updatesIn(world.taken(kill(1, 't1')));
  t.like(update, { number: 1, commandNumber: 1, frameworkId: 'F', latestState: TaskState.TASK_KILLED });
  t.is(update?.status?.reason, Reason.REASON_TASK_KILLED_DURING_LAUNCH);
  world.commands([acknowledge('t1', update?.status?.uuid)]);
  t.is(world.state.launches.size, 0);
});

test('a launch that the leader had closed ends as the leader says, also if it came but has not begun', (t) => {
  const world = new World().ready();
  const unlaunched = { state: TaskState.TASK_DROPPED, reason: Reason.REASON_AGENT_REMOVED, message: 'why' };
  const close = (number: number, taskId: string) => ({
    number,
    killTask: { ...kill(number, taskId).killTask, unlaunched },
  });
  const effects = world.taken(close(1, 't1'), run(2, 't2'), close(3, 't2'));
  t.deepEqual(statesIn(effects), ['TASK_DROPPED 1', 'TASK_STARTING 1', 'TASK_DROPPED 2']);
  t.like(updatesIn(effects)[2]?.status, { reason: Reason.REASON_AGENT_REMOVED, message: 'why' });
  t.like(updatesIn(effects)[0]?.status, { reason: Reason.REASON_AGENT_REMOVED, message: 'why' });
});

test('a kill of a task that has ended changes nothing', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.started(world.containerId);
  world.exited(world.containerId, 0);
  t.deepEqual(statesIn(world.taken(kill(2, 't1'))), []);
});

test('a task id that is alive cannot be used for another launch', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  const effects = world.taken(run(2, 't1'));
  t.deepEqual(ofKind(effects, 'start'), []);
  t.like(updatesIn(effects)[0], { commandNumber: 2, number: 1, latestState: TaskState.TASK_ERROR });
});

test('a task id that was used before is another launch, told apart by its command', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  const first = world.containerId;
  world.exited(first, 0);
  const effects = world.taken(run(2, 't1'));
  t.deepEqual(statesIn(effects), ['TASK_STARTING 1']);
  t.is(updatesIn(effects)[0]?.commandNumber, 2);
  t.not(world.containerId, first);
});

test('a volume of a secret without its name ends in TASK_ERROR; one with a name is for the start to find', (t) => {
  const launch = (source: object) => {
    const world = new World().ready();
    const volumes = [{ mode: 1, containerPath: 'a', source: { type: 3, ...source } }];
    return world.taken(run(1, 't1', { task: { container: { type: 2, volumes } } as object }));
  };
  const refused = launch({});
  t.deepEqual(statesIn(refused), ['TASK_ERROR 1']);
  t.regex(
    updatesIn(refused)[0]?.status?.message ?? '',
    /volume at 'a' has a source of type SECRET without a reference/,
  );
  t.deepEqual(statesIn(launch({ secret: { type: 1, reference: { name: 'db' } } })), ['TASK_STARTING 1']);
});

const unsupported = [
  ['seccomp profiles', { container: { type: 2, linuxInfo: { seccomp: { profileName: 'p' } } } }],
  [
    'volumes of type DOCKER_VOLUME',
    { container: { type: 2, volumes: [{ mode: 1, containerPath: 'a', source: { type: 1 } }] } },
  ],
  ['container networks', { container: { type: 2, networkInfos: [{ name: 'n' }] } }],
  ['container images', { container: { type: 2, mesos: { image: { type: 2, docker: { name: 'alpine' } } } } }],
] as const;
for (const [what, task] of unsupported) {
  test(`a task that needs ${what} ends in TASK_ERROR and says why`, (t) => {
    const world = new World().ready();
    const effects = world.taken(run(1, 't1', { task: task as object }));
    t.deepEqual(statesIn(effects), ['TASK_ERROR 1']);
    t.regex(updatesIn(effects)[0]?.status?.message ?? '', new RegExp(`not supported by this agent: ${what}`));
  });
}

const ports = (begin: number, end: number) => ({
  name: 'ports',
  type: mesos.v1.Value.Type.RANGES,
  ranges: { range: [{ begin: BigInt(begin), end: BigInt(end) }] },
});
const { Network } = mesos.v1.ContainerInfo.DockerInfo;
const mapping = { hostPort: 31_000, containerPort: 80 };
const ofDocker: readonly (readonly [string, RegExp | undefined, object, object?])[] = [
  ['with a command of its image', undefined, { docker: { image: 'i' } }],
  ['without an image', /names no image/, {}],
  ['in a network without a name', /needs one network_info/, { docker: { image: 'i', network: Network.USER } }],
  ['with linux_info', /say it by parameters/, { docker: { image: 'i' }, linuxInfo: { sharePidNamespace: true } }],
  ['with a host name in the network of the host', /choose another/, { docker: { image: 'i' }, hostname: 'h' }],
  ['with ports and no network', /only BRIDGE and USER/, { docker: { image: 'i', portMappings: [mapping] } }],
  [
    'with a port that it was not given',
    /Port 31000 of the host is mapped/,
    { docker: { image: 'i', network: Network.BRIDGE, portMappings: [mapping] } },
    { resources: [ports(31_001, 31_002)] },
  ],
  [
    'with a port that it was given',
    undefined,
    { docker: { image: 'i', network: Network.BRIDGE, portMappings: [mapping] } },
    { resources: [ports(30_999, 31_000)] },
  ],
];
for (const [what, why, container, rest] of ofDocker) {
  test(`a task of Docker ${what} is ${why === undefined ? 'started' : 'refused, and told why'}`, (t) => {
    const world = new World().ready();
    const task = { command: { shell: false }, container: { type: 1, ...container }, ...rest };
    const effects = world.taken(run(1, 't1', { task }));
    t.deepEqual(statesIn(effects), [why === undefined ? 'TASK_STARTING 1' : 'TASK_ERROR 1']);
    t.regex(updatesIn(effects)[0]?.status?.message ?? '', why ?? /^/);
  });
}

test('a resource limit that is half said is refused by name; a whole one is taken', (t) => {
  const world = new World().ready();
  const limited = (limit: object) => ({ container: { type: 2, rlimitInfo: { rlimits: [{ type: 10, ...limit }] } } });
  const refused = world.taken(run(1, 't1', { task: limited({ soft: 5n }) }));
  t.regex(updatesIn(refused)[0]?.status?.message ?? '', /RLMT_NOFILE has either a soft or a hard limit/);
  const taken = world.taken(run(2, 't2', { task: limited({ soft: 5n, hard: 6n }) }));
  t.deepEqual(statesIn(taken), ['TASK_STARTING 1']);
});

test('each task of a group ends in TASK_ERROR and says why', (t) => {
  const world = new World().ready();
  const task = run(1, 't1').runTask;
  const tasks = ['t1', 't2'].map((value) => ({ name: value, taskId: { value }, agentId: { value: agentId } }));
  const effects = world.taken({ number: 1, runTaskGroup: { framework: task?.framework, group: { tasks } } });
  t.deepEqual(statesIn(effects), ['TASK_ERROR 1', 'TASK_ERROR 1']);
  t.is(updatesIn(effects)[1]?.status?.reason, Reason.REASON_TASK_GROUP_INVALID);
  for (const { status } of updatesIn(effects)) world.commands([acknowledge(status?.taskId.value ?? '', status?.uuid)]);
  t.is(world.state.launches.size, 0);
});

test('an operation that converts nothing is dropped, and that is said until it is acknowledged, also by the next process', (t) => {
  const world = new World().ready();
  const operationUuid = Uint8Array.of(1, 2, 3);
  const operation = { id: { value: 'o1' }, type: 1 };
  const effects = world.taken({ number: 1, applyOperation: { frameworkId: 'F', operation, operationUuid } });
  const [sent] = ofKind(effects, 'send');
  t.is(sent?.request.operationUpdates?.updates?.[0]?.status?.state, mesos.v1.OperationState.OPERATION_DROPPED);
  world.ready();
  t.truthy(world.sent[0]?.request.operationUpdates);
  world.commands([{ acknowledgeOperationUpdate: { operationUuid, statusUuid: Uint8Array.of(9) } }]);
  t.is(world.state.operations.size, 0);
});

test('a framework that is shut down loses all its tasks, and no other does', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'), run(2, 't2'), run(3, 'other', { framework: 'G' }));
  const ids = [...world.containers.keys()];
  for (const id of ids) world.started(id);
  const effects = world.taken({ number: 4, shutdownFramework: { frameworkId: 'F' } });
  t.deepEqual(
    ofKind(effects, 'control').map(({ containerId }) => containerId),
    ids.slice(0, 2),
  );
});

test('draining kills all tasks with no more grace than it grants, and says so in the end', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.started(world.containerId);
  const effects = world.taken({ number: 2, drainAgent: { maxGracePeriodMs: 1_000, markGone: false } });
  t.deepEqual(ofKind(effects, 'control')[0]?.control, { kind: 'term', graceMs: 1_000 });
  const [update] = updatesIn(world.exited(world.containerId, 15, true));
  t.is(update?.status?.reason, Reason.REASON_AGENT_DRAINING);
});

test('an executor that is shut down is the task of that name', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.started(world.containerId);
  const effects = world.taken({ number: 2, shutdownExecutor: { frameworkId: 'F', executorId: 't1' } });
  t.is(ofKind(effects, 'control').length, 1);
});

test('a message to an executor is dropped and that is logged', (t) => {
  const world = new World().ready();
  const effects = world.commands([{ frameworkMessage: { frameworkId: 'F', executorId: 't1' } }]);
  t.deepEqual(kindsIn(effects), ['log', 'reply']);
});

test('told to shut down, the agent kills its tasks, tells of them, unregisters and stops', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.answer({ taskUpdatesTaken: {} });
  world.started(world.containerId);
  world.answer({ taskUpdatesTaken: {} });
  t.is(ofKind(world.taken({ shutdownAgent: { message: 'bye' } }), 'control').length, 1);
  t.deepEqual(statesIn(world.exited(world.containerId, 15, true)), ['TASK_KILLED 3']);
  t.truthy(ofKind(world.answer({ taskUpdatesTaken: {} }), 'send')[0]?.request.unregister);
  t.deepEqual(ofKind(world.answer({ taken: {} }), 'stop'), [{ kind: 'stop', exitCode: goneExitCode, reason: 'bye' }]);
});

test('a shutdown without a leader ends in bounded time', (t) => {
  const world = new World();
  world.start();
  world.sync();
  t.is(ofKind(world.input({ kind: 'shutdown_asked', why: 'now' }), 'stop').length, 1);
});

const { PARTITION_AWARE } = mesos.v1.FrameworkInfo.Capability.Type;
for (const [whose, capabilities, state] of [
  ['a partition-aware framework', [PARTITION_AWARE], 'TASK_DROPPED 1'],
  ['another framework', [], 'TASK_LOST 1'],
] as const) {
  test(`on a full disk a launch of ${whose} is ${state.split(' ')[0]}, and what runs is looked after`, (t) => {
    const world = new World().ready();
    world.taken(run(1, 't1'));
    world.started(world.containerId);
    world.input({ kind: 'disk', room: 'low' });
    const effects = world.taken(run(2, 't2', { capabilities }));
    t.deepEqual(ofKind(effects, 'start'), []);
    t.deepEqual(statesIn(effects), [state]);
    t.regex(updatesIn(effects)[0]?.status?.message ?? '', /disk of the agent is full/);
    t.is(ofKind(world.taken(kill(3, 't1')), 'control').length, 1);
    t.deepEqual(statesIn(world.exited(world.containerId, 15, true)), ['TASK_KILLED 3']);
    world.input({ kind: 'disk', room: 'roomy' });
    t.is(ofKind(world.taken(run(4, 't3')), 'start').length, 1);
  });
}

test('an agent that can write nothing down refuses every command for now, and stays registered', (t) => {
  const world = new World().ready();
  world.input({ kind: 'disk', room: 'full' });
  const effects = world.commands([run(1, 't1')]);
  t.deepEqual(
    ofKind(effects, 'refuse').map(({ code }) => code),
    ['overloaded'],
  );
  t.is(world.state.cursor, 0);
  t.is(ofKind(world.commands([]), 'refuse').length, 0);
  t.is(ofKind(world.tick(5_000), 'heartbeat').length, 1);
  world.input({ kind: 'disk', room: 'low' });
  t.is(ofKind(world.taken(run(1, 't1')), 'reply').length, 1);
});

test('nothing is answered to a new master before it is written down that it is obeyed', (t) => {
  const world = new World().ready();
  world.epoch = { incarnation: 1, epoch: 9 };
  t.deepEqual(ofKind(world.commands([]), 'reply'), []);
  t.is(ofKind(world.sync(), 'reply').length, 1);
  world.start();
  t.deepEqual(world.state.obeyed, { incarnation: 1, epoch: 9 });
});

test('a command says in its updates who it came from: the agent or the executor', (t) => {
  const world = new World().ready();
  const made = updatesIn([
    ...world.taken(run(1, 't1')),
    ...world.started(world.containerId),
    ...world.taken(kill(2, 't9')),
  ]);
  t.deepEqual(
    made.map(({ status }) => status?.source),
    [Source.SOURCE_EXECUTOR, Source.SOURCE_EXECUTOR, Source.SOURCE_AGENT],
  );
});
