import { decode, mesobus, mesos } from '@mesobus/protos';
import { parseResources, toWire } from '@mesobus/sdk/resources';
import fc from 'fast-check';

export type Properties = mesobus.v1.Record.$Properties;
const { TaskState } = mesos.v1;

/** The same record as another process reads it. */
export const written = (properties: Properties): mesobus.v1.Record =>
  decode(mesobus.v1.Record, mesobus.v1.Record.encode(properties).finish(), { keepUnknown: true });

/** A field that no version of this code knows, with a number in it. */
export const unknownField = (value: number): Uint8Array => Uint8Array.of(0xfa, 0x3f, 1, value); // field 1023, one byte

/** The same record with such a field in its fact, as a newer version writes it. */
export function withUnknown(properties: Properties, value: number): Properties {
  const facts = Object.entries(properties).map(([kind, fact]) => [kind, { ...fact, $unknowns: [unknownField(value)] }]);
  return Object.fromEntries(facts) as Properties;
}

/** A record of a kind that only a newer version knows. */
export const ofUnknownKind = (value: number): Properties => ({ $unknowns: [unknownField(value)] }) as Properties;

export const frameworkRecord = (frameworkId = 'f1', more: mesobus.v1.FrameworkRecord.$Properties = {}): Properties => ({
  framework: { frameworkId, principal: 'p', info: { user: 'root', name: 'n', roles: ['ads'] }, ...more },
});

export const agentRecord = (agentId = 'a1', more: mesobus.v1.AgentRecord.$Properties = {}): Properties => ({
  agent: {
    agentId,
    agentName: `name-${agentId}`,
    info: { hostname: 'h', resources: wire('cpus:8;mem:1000') },
    ...more,
  },
});

export const wire = (text: string): mesos.v1.Resource.$Properties[] => toWire(parseResources(text));

export const launch = (
  taskId = 't1',
  commandNumber = 1,
  more: mesobus.v1.TaskLaunched.$Properties & { text?: string } = {},
): Properties => {
  const { text = 'cpus:1;mem:10', ...rest } = more;
  const frameworkId = rest.frameworkId ?? 'f1';
  const agentId = rest.agentId ?? 'a1';
  const task = { name: taskId, taskId: { value: taskId }, agentId: { value: agentId } };
  const base = { frameworkId, agentId, task, resources: wire(text), role: 'ads', commandNumber, acceptedAtMs: 5 };
  return { taskLaunched: { ...base, ...rest } };
};

export const change = (
  state: mesos.v1.TaskState,
  more: mesobus.v1.TaskChanged.$Properties & { taskId?: string } = {},
): Properties => {
  const { taskId = 't1', ...rest } = more;
  return { taskChanged: { task: { frameworkId: 'f1', taskId }, commandNumber: 1, state, changedAtMs: 9, ...rest } };
};

export const executorOf = (
  runNumber = 1,
  more: mesobus.v1.ExecutorRecord.$Properties & { text?: string; executorId?: string } = {},
): Properties => {
  const { text = 'cpus:0.5;mem:32', executorId = 'e1', ...rest } = more;
  const info = { executorId: { value: executorId }, resources: wire(text) };
  return { executor: { frameworkId: 'f1', agentId: 'a1', info, run: { number: runNumber, role: 'ads' }, ...rest } };
};

// ---- anything at all, from few ids, so that records meet

const id = (letter: string, count: number): fc.Arbitrary<string> =>
  fc.integer({ min: 1, max: count }).map((number) => `${letter}${number}`);
const frameworkId = id('f', 2);
const agentId = id('a', 3);
const taskId = id('t', 4);
const number = fc.integer({ min: 0, max: 8 });
const time = fc.integer({ min: 0, max: 40 }).map((minutes) => minutes * 60_000);
const key = fc.record({ frameworkId, taskId });
const state = fc.constantFrom(...Object.values(TaskState).filter((value) => typeof value === 'number'));
const resources = fc.constantFrom('cpus:1', 'cpus:0.5;mem:64', 'ports:[10-20]', 'ports:[15-30];cpus:2', '').map(wire);
const lifecycle = fc.constantFrom(0, 0, 0, 1, 2);

const agent = fc
  .record({ agentId, agentName: id('n', 3), lifecycle, registeredAtMs: time })
  .map(
    (agent): Properties => ({ agent: { ...agent, info: { hostname: 'h', resources: wire('cpus:8;ports:[1-99]') } } }),
  );
const framework = fc
  .record({ frameworkId, lifecycle: fc.constantFrom(0, 0, 0, 1), principal: id('p', 2) })
  .map((framework): Properties => ({ framework: { ...framework, info: { user: 'u', name: 'n' } } }));
const launched = fc
  .record({ frameworkId, agentId, taskId, number, resources, role: id('r', 2), groupId: fc.constantFrom('', '', 'g1') })
  .map(({ taskId, number: commandNumber, ...rest }): Properties => {
    const task = { name: taskId, taskId: { value: taskId }, agentId: { value: rest.agentId } };
    return { taskLaunched: { ...rest, task, commandNumber } };
  });
const changed = fc
  .record({
    task: key,
    commandNumber: number,
    state,
    updateNumber: number,
    acknowledgedNumber: number,
    changedAtMs: time,
    told: fc.option(state, { nil: undefined }),
  })
  .map(({ told, ...rest }): Properties => {
    const status = told === undefined ? {} : { status: { taskId: { value: rest.task.taskId }, state: told } };
    return { taskChanged: { ...rest, ...status } };
  });
const removed = fc.record({ task: key, commandNumber: number }).map((taskRemoved): Properties => ({ taskRemoved }));
const killed = fc.record({ agentId, number, task: key }).map(
  ({ agentId, number, task }): Properties => ({
    commandIssued: { agentId, command: { number, killTask: { task } } },
  }),
);
const applied = fc.record({ agentId, cursor: number }).map((commandsApplied): Properties => ({ commandsApplied }));
const forgotten = frameworkId.map((frameworkId): Properties => ({ frameworkForgotten: { frameworkId } }));
const agentRemoved = agentId.map((agentId): Properties => ({ agentRemoved: { agentId } }));
const called = fc
  .record({ callId: id('c', 4), complete: fc.boolean(), recordedAtMs: time })
  .map((callRecorded): Properties => ({ callRecorded }));
const role = fc.record({ role: id('r', 2), weight: fc.constantFrom(0, 1, 2) }).map((role): Properties => ({ role }));
const cluster = fc
  .record({ clusterIncarnation: fc.integer({ min: 0, max: 2 }), nextAgentNumber: number, nextFrameworkNumber: number })
  .map((cluster): Properties => ({ cluster }));
const operation = fc
  .record({
    commandNumber: fc.integer({ min: 1, max: 4 }),
    removed: fc.boolean(),
    agentId,
    id: fc.constantFrom('', 'o1', 'o2'),
  })
  .map(({ id, ...rest }): Properties => {
    const info = { type: mesos.v1.Offer.Operation.Type.RESERVE, ...(id !== '' && { id: { value: id } }) };
    const uuid = { value: Uint8Array.of(rest.commandNumber) };
    const latestStatus = { state: mesos.v1.OperationState.OPERATION_PENDING };
    return { operation: { ...rest, frameworkId: 'f1', operation: { info, uuid, latestStatus } } };
  });
const agentResources = fc.record({ agentId, mb: fc.nat(3) }).map(({ agentId, mb }): Properties => {
  const reservations = [{ type: mesos.v1.Resource.ReservationInfo.Type.DYNAMIC, role: 'ads' }];
  const checkpointedResources = toWire(parseResources(`mem:${mb}`)).map((one) => ({ ...one, reservations }));
  return { agentResources: { agentId, checkpointedResources } };
});
const executor = fc
  .record({ agentId, frameworkId, executorId: id('e', 2), number, role: id('r', 2), resources, ended: fc.boolean() })
  .map(({ executorId, number, role, resources, ...rest }): Properties => {
    const info = { executorId: { value: executorId }, resources };
    return { executor: { ...rest, info, run: { number, role } } };
  });
const unknown = number.map(ofUnknownKind);

/** Any record, sense or nonsense. Launches and changes come oftenest. */
export const anyRecord: fc.Arbitrary<mesobus.v1.Record> = fc
  .oneof(
    { weight: 4, arbitrary: agent },
    { weight: 3, arbitrary: framework },
    { weight: 1, arbitrary: forgotten },
    { weight: 10, arbitrary: launched },
    { weight: 12, arbitrary: changed },
    { weight: 3, arbitrary: removed },
    { weight: 4, arbitrary: killed },
    { weight: 2, arbitrary: applied },
    { weight: 1, arbitrary: agentRemoved },
    { weight: 3, arbitrary: called },
    { weight: 1, arbitrary: role },
    { weight: 1, arbitrary: cluster },
    { weight: 1, arbitrary: operation },
    { weight: 1, arbitrary: agentResources },
    { weight: 2, arbitrary: executor },
    { weight: 1, arbitrary: unknown },
  )
  .chain((record) => fc.oneof({ weight: 9, arbitrary: fc.constant(record) }, { weight: 1, arbitrary: newer(record) }))
  .map(written);

function newer(record: Properties): fc.Arbitrary<Properties> {
  return number.map((value) => ('$unknowns' in record ? record : withUnknown(record, value)));
}

/** A cluster in which most records find what they are about. */
export const aCluster: readonly Properties[] = [
  frameworkRecord('f1'),
  frameworkRecord('f2'),
  agentRecord('a1'),
  agentRecord('a2'),
];
