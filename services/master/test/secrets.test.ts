import { encode, mesobus, mesos } from '@mesobus/protos';
import test from 'ava';
import { CallType, Harness, Reason, resources, type Sent, statusesIn, TaskState, task } from './harness.ts';

const { REFERENCE, VALUE } = mesos.v1.Secret.Type;
const { SECRET } = mesos.v1.Environment.Variable.Type;
type Task = Partial<mesos.v1.TaskInfo.$Properties>;

const inClear = 'open sesame';
const byValue = { type: VALUE, value: { data: new TextEncoder().encode(inClear) } };
const byName = { type: REFERENCE, reference: { name: 'db' } };

const withVariable = (variable: Partial<mesos.v1.Environment.Variable.$Properties>): Task => ({
  command: { value: 'true', environment: { variables: [{ name: 'X', type: SECRET, ...variable }] } },
});
const inVolume = (secret: mesos.v1.Secret.$Properties): Task => ({
  container: {
    type: mesos.v1.ContainerInfo.Type.MESOS,
    volumes: [{ mode: 2, containerPath: 'key', source: { type: mesos.v1.Volume.Source.Type.SECRET, secret } }],
  },
});
const inCheck = (secret: mesos.v1.Secret.$Properties): Task => ({
  check: { type: mesos.v1.CheckInfo.Type.COMMAND, command: { command: withVariable({ secret }).command as never } },
});
const executor = (more: object): Task => ({
  command: null,
  executor: { executorId: { value: 'e' }, command: { value: './e' }, resources: resources('cpus:0.1'), ...more },
});

const inTheLog = /would stand in the log in clear.*--secrets-dir.*REFERENCE/;
const wrong: Record<string, [Task, RegExp]> = {
  'a variable with the value of a secret': [withVariable({ secret: byValue }), inTheLog],
  'a volume with the value of a secret': [inVolume(byValue), inTheLog],
  'a check with the value of a secret': [inCheck(byValue), inTheLog],
  'an executor with the value of a secret': [
    executor({ command: withVariable({ secret: byValue }).command }),
    inTheLog,
  ],
  'an executor with a volume with the value of a secret': [executor(inVolume(byValue)), inTheLog],
  'a reference that has a value too': [withVariable({ secret: { ...byName, value: byValue.value } }), inTheLog],
  'a secret of no type': [withVariable({ secret: { reference: { name: 'db' } } }), inTheLog],
  'a reference without a name': [withVariable({ secret: { type: REFERENCE } }), /no reference with a name/],
  'a variable without its secret': [withVariable({}), /'X' of type SECRET has no secret/],
  'a variable with a value and a secret': [
    withVariable({ value: 'v', secret: byName }),
    /has a value: give a secret only/,
  ],
  'a secret in a plain variable': [
    withVariable({ type: 1, secret: byName }),
    /'X' has a secret, and is not of type SECRET/,
  ],
};

function launch(h: Harness, more: Task): Sent[] {
  const agentId = h.agent();
  const frameworkId = h.framework();
  return h.accept(frameworkId, [h.offer(frameworkId, agentId)], [task('t', agentId, more)]);
}

for (const [what, [more, why]] of Object.entries(wrong)) {
  test(`a task with ${what} gets TASK_ERROR, and nothing of it is recorded`, (t) => {
    const h = new Harness();
    const [status] = statusesIn(launch(h, more));
    t.like(status, { state: TaskState.TASK_ERROR, reason: Reason.REASON_TASK_INVALID });
    t.regex(status?.message ?? '', why);
    const log = h.records.map((record) => Buffer.from(encode(mesobus.v1.Record, record)).toString('latin1')).join();
    t.false(log.includes(inClear));
    t.false(JSON.stringify(h.sent.filter(({ kind }) => kind !== 'accept_call')).includes(inClear));
  });
}

test('a task group with the value of a secret gets TASK_ERROR', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework();
  const group = { type: mesos.v1.ExecutorInfo.Type.DEFAULT, executorId: { value: 'e' } };
  const tasks = [task('t1', agentId), task('t2', agentId, withVariable({ secret: byValue }))];
  const launchGroup = { executor: group, taskGroup: { tasks } };
  const operations = [{ type: mesos.v1.Offer.Operation.Type.LAUNCH_GROUP, launchGroup }];
  const accept = { offerIds: [{ value: h.offer(frameworkId, agentId) }], operations };
  const statuses = statusesIn(h.call({ frameworkId }, { type: CallType.ACCEPT, accept }));
  t.deepEqual(
    statuses.map(({ reason }) => reason),
    [Reason.REASON_TASK_GROUP_INVALID, Reason.REASON_TASK_GROUP_INVALID],
  );
  t.regex(statuses[0]?.message ?? '', inTheLog);
});

for (const [what, more] of Object.entries({
  'a variable': withVariable({ secret: byName }),
  'a volume': inVolume(byName),
  'a check': inCheck(byName),
  'an executor': executor(inVolume(byName)),
})) {
  test(`a task with a reference to a secret in ${what} is launched`, (t) => {
    const h = new Harness();
    t.deepEqual(statusesIn(launch(h, more)), []);
    t.is(h.state.ledger.frameworks.values().next().value?.tasks.size, 1);
  });
}
