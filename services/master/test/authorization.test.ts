import { decode, encode, mesobus, mesos } from '@mesobus/protos';
import { parseAcls } from '@mesobus/sdk/authorization';
import { parseResources, type Resources, reservedFor, toWire, volumeOf } from '@mesobus/sdk/resources';
import test from 'ava';
import { answerQuery } from '../src/core/index.ts';
import {
  agentRepliesIn,
  CallType,
  eventsIn,
  Harness,
  launchOf,
  outcomeOf,
  Reason,
  resources,
  type Sent,
  statusesIn,
  TaskState,
  task,
  whyRefused,
} from './harness.ts';

const { MULTI_ROLE } = mesos.v1.FrameworkInfo.Capability.Type;
const { AGENT_OPERATION_FEEDBACK, AGENT_DRAINING } = mesos.v1.AgentInfo.Capability.Type;
const { Type } = mesos.v1.Offer.Operation;
const { OperationState } = mesos.v1;

const any = { type: 'ANY' };
const only = (...values: string[]) => ({ values });

/** What a test does not speak of is allowed. */
function setAcls(h: Harness, json: object): void {
  const parsed = parseAcls(JSON.stringify({ permissive: true, ...json }));
  if (!parsed.ok) throw new Error(parsed.problems.join('; '));
  h.step({ kind: 'acls', acls: parsed.acls });
}

/** Only this principal may, and only with this. */
const rule = (action: string, objects: string, principal: string, ...values: string[]) => ({
  [action]: [
    { principals: only(principal), [objects]: only(...values) },
    { principals: { type: 'NONE' }, [objects]: any },
  ],
});

const refusalIn = (sent: readonly Sent[]): { code: string; why?: string } | undefined =>
  sent.find((effect) => effect.kind === 'refuse' || effect.kind === 'refuse_call');

// ---- frameworks

const inRoles = (...roles: string[]) => ({ roles, capabilities: [{ type: MULTI_ROLE }] });

test('a framework subscribes in roles that its principal may use, and in no others', (t) => {
  const h = new Harness();
  setAcls(h, rule('register_frameworks', 'roles', 'p1', 'ads', 'eng/%'));
  const refused = h.subscribe(inRoles('ads', 'ops'));
  t.like(refusalIn(refused), { code: 'not_authorized' });
  t.regex(refusalIn(refused)?.why ?? '', /principal 'p1' may not register_frameworks for roles 'ops'/);
  t.is(outcomeOf(h.subscribe(inRoles('ads'), { principal: 'p2' })), 'not_authorized');
  t.is(h.state.ledger.frameworks.size, 0, 'nothing is recorded');
  t.is(outcomeOf(h.subscribe(inRoles('ads', 'eng/web'))), 'accepted');
});

test('a framework does not change into a role that its principal may not use', (t) => {
  const h = new Harness();
  setAcls(h, rule('register_frameworks', 'roles', 'p1', 'ads'));
  const frameworkId = h.framework(inRoles('ads'));
  const update = (role: string): Sent[] => {
    const frameworkInfo = { user: 'root', name: 'test', id: { value: frameworkId }, ...inRoles(role) };
    return h.call({ frameworkId }, { type: CallType.UPDATE_FRAMEWORK, updateFramework: { frameworkInfo } });
  };
  t.is(outcomeOf(update('ops')), 'not_authorized');
  t.deepEqual(h.state.ledger.frameworks.get(frameworkId)?.record.info?.roles, ['ads']);
  t.is(outcomeOf(update('ads')), 'accepted');
});

test('a framework that has subscribed stays when the ACLs change, and does not come back', (t) => {
  const h = new Harness();
  const frameworkId = h.framework(inRoles('ads'));
  setAcls(h, rule('register_frameworks', 'roles', 'p1', 'eng'));
  t.true(h.state.frameworks.get(frameworkId)?.connected);
  t.is(outcomeOf(h.subscribe(inRoles('ads'), { frameworkId, generation: 1 })), 'not_authorized');
  h.step({ kind: 'acls', acls: undefined });
  t.is(outcomeOf(h.subscribe(inRoles('ads'), { frameworkId, generation: 1 })), 'accepted');
});

// ---- tasks

const asUser = (user: string) => ({ command: { value: 'true', user } });

test('a task runs as a user that its principal may use, or gets TASK_ERROR; the next one is launched', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework({ user: 'web' });
  setAcls(h, rule('run_tasks', 'users', 'p1', 'web'));
  const sent = h.accept(
    frameworkId,
    [h.offer(frameworkId, agentId)],
    [task('bad', agentId, asUser('root')), task('good', agentId), task('named', agentId, asUser('web'))],
  );
  const [status, ...more] = statusesIn(sent);
  t.like(status, { state: TaskState.TASK_ERROR, reason: Reason.REASON_TASK_UNAUTHORIZED });
  t.is(status?.message, "principal 'p1' may not run_tasks for users 'root': 'run_tasks[1]' of the ACLs denies it");
  t.is(more.length, 0);
  t.is(h.task(frameworkId, 'bad'), undefined);
  t.truthy(h.task(frameworkId, 'good'));
  t.truthy(h.task(frameworkId, 'named'));
});

test('an executor runs as a user that its principal may use, or its task gets TASK_ERROR', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework({ user: 'web' });
  setAcls(h, rule('run_tasks', 'users', 'p1', 'web'));
  const executor = (user: string) => ({
    command: null,
    executor: { executorId: { value: 'e' }, command: { value: './e', user }, resources: resources('cpus:0.1') },
  });
  const launch = (id: string, user: string): Sent[] =>
    h.accept(frameworkId, [h.offer(frameworkId, agentId, 'cpus:2;mem:64')], [task(id, agentId, executor(user))]);
  t.is(statusesIn(launch('t1', 'root'))[0]?.reason, Reason.REASON_TASK_UNAUTHORIZED);
  t.deepEqual(statusesIn(launch('t2', 'web')), []);
});

test('all tasks of a group get TASK_ERROR if one of them may not run', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework({ user: 'web' });
  setAcls(h, rule('run_tasks', 'users', 'p1', 'web'));
  const executor = { type: mesos.v1.ExecutorInfo.Type.DEFAULT, executorId: { value: 'e' } };
  const tasks = [task('t1', agentId), task('t2', agentId, asUser('root'))];
  const operations = [{ type: Type.LAUNCH_GROUP, launchGroup: { executor, taskGroup: { tasks } } }];
  const accept = { offerIds: [{ value: h.offer(frameworkId, agentId) }], operations };
  const statuses = statusesIn(h.call({ frameworkId }, { type: CallType.ACCEPT, accept }));
  t.deepEqual(
    statuses.map(({ taskId, state, reason }) => [taskId.value, state, reason]),
    ['t1', 't2'].map((id) => [id, TaskState.TASK_ERROR, Reason.REASON_TASK_GROUP_UNAUTHORIZED]),
  );
  t.is(h.task(frameworkId, 't1'), undefined);
});

test('a task names secrets that its principal may use only', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  const frameworkId = h.framework();
  setAcls(h, rule('use_secrets', 'secrets', 'p1', 'db'));
  const withSecret = (name: string) => {
    const secret = { type: mesos.v1.Secret.Type.REFERENCE, reference: { name } };
    const variables = [{ name: 'PASSWORD', type: mesos.v1.Environment.Variable.Type.SECRET, secret }];
    return { command: { value: 'true', environment: { variables } } };
  };
  const tasks = [task('bad', agentId, withSecret('root-key')), task('good', agentId, withSecret('db'))];
  const [status] = statusesIn(h.accept(frameworkId, [h.offer(frameworkId, agentId)], tasks));
  t.like(status, { taskId: { value: 'bad' }, reason: Reason.REASON_TASK_UNAUTHORIZED });
  t.regex(status?.message ?? '', /may not use_secrets for secrets 'root-key'/);
  t.truthy(h.task(frameworkId, 'good'));
});

// ---- operations

const total = 'cpus:4;mem:4096;disk:1000';
const reserved = (text: string, principal = 'p1'): Resources => reservedFor(parseResources(text), 'ads', { principal });
const volume = (mb: number, creator = 'p1'): Resources =>
  volumeOf(reserved(`disk:${mb}`), { id: 'v', containerPath: 'data', principal: creator });
const reserve = (wanted: Resources) => ({ type: Type.RESERVE, reserve: { resources: toWire(wanted) } });
const unreserve = (wanted: Resources) => ({ type: Type.UNRESERVE, unreserve: { resources: toWire(wanted) } });
const create = (volumes: Resources) => ({ type: Type.CREATE, create: { volumes: toWire(volumes) } });
const destroy = (volumes: Resources) => ({ type: Type.DESTROY, destroy: { volumes: toWire(volumes) } });
const grow = (mb: number) => ({
  type: Type.GROW_VOLUME,
  growVolume: { volume: toWire(volume(mb))[0] as never, addition: toWire(reserved('disk:10'))[0] as never },
});

type Operation = mesos.v1.Offer.Operation.$Properties;
/** What has to be there before, what is done, and what that needs. */
const operations: Record<
  string,
  [before: Operation[], done: Operation, action: string, objects: string, object: string]
> = {
  RESERVE: [[], reserve(reserved('disk:100')), 'reserve_resources', 'roles', 'ads'],
  UNRESERVE: [
    [reserve(reserved('disk:100'))],
    unreserve(reserved('disk:100')),
    'unreserve_resources',
    'reserver_principals',
    'p1',
  ],
  CREATE: [[reserve(reserved('disk:100'))], create(volume(100)), 'create_volumes', 'roles', 'ads'],
  DESTROY: [
    [reserve(reserved('disk:100')), create(volume(100))],
    destroy(volume(100)),
    'destroy_volumes',
    'creator_principals',
    'p1',
  ],
  'DESTROY that names another creator': [
    [reserve(reserved('disk:100')), create(volume(100))],
    destroy(volume(100, 'somebody')),
    'destroy_volumes',
    'creator_principals',
    'p1',
  ],
  GROW_VOLUME: [[reserve(reserved('disk:110')), create(volume(100))], grow(100), 'resize_volumes', 'roles', 'ads'],
};

for (const [name, [before, done, action, objects, object]] of Object.entries(operations)) {
  for (const allowed of [true, false]) {
    test(`${name} of a framework ${allowed ? 'is carried out' : 'fails'} as '${action}' says`, (t) => {
      const h = new Harness();
      h.register('a1', { total, capabilities: [{ type: AGENT_OPERATION_FEEDBACK }] } as never);
      const agentId = 'm1-S0';
      const frameworkId = h.framework(inRoles('ads'));
      const offerId = h.offer(frameworkId, agentId, total, 'ads');
      setAcls(h, rule(action, objects, 'p1', allowed ? object : 'other'));
      const wanted = { ...done, id: { value: 'o1' } };
      const accept = {
        offerIds: [{ value: offerId }],
        operations: [...before, wanted, launchOf([task('t', agentId)])],
      };
      const sent = h.call({ frameworkId }, { type: CallType.ACCEPT, accept });
      const failed = eventsIn(sent).flatMap(({ updateOperationStatus }) => updateOperationStatus?.status ?? []);
      t.deepEqual(
        failed.map(({ state }) => state),
        allowed ? [] : [OperationState.OPERATION_ERROR],
      );
      if (!allowed) t.regex(failed[0]?.message ?? '', new RegExp(`'p1' may not ${action} for ${objects} '${object}'`));
      t.truthy(h.task(frameworkId, 't'), 'what comes after is done');
    });

    test(`${name} of an operator ${allowed ? 'is carried out' : 'is refused'} as '${action}' says`, (t) => {
      const h = new Harness();
      h.register('a1', { total, capabilities: [{ type: AGENT_OPERATION_FEEDBACK }] } as never);
      const asOps = (operation: Operation): Sent[] => operate(h, operatorCallOf(operation), 'p1');
      for (const one of before) t.is(whyRefused(asOps(one)), 'accepted');
      setAcls(h, rule(action, objects, 'p1', allowed ? object : 'other'));
      const sent = asOps(done);
      if (allowed) t.is(whyRefused(sent), 'accepted');
      else t.like(refusalIn(sent), { code: 'not_authorized' });
    });
  }
}

function operatorCallOf(operation: Operation): mesos.v1.master.Call.$Properties {
  const agentId = { value: 'm1-S0' };
  const { Type: CallKind } = mesos.v1.master.Call;
  const { reserve: r, unreserve: u, create: c, destroy: d, growVolume: g } = operation;
  if (r) return { type: CallKind.RESERVE_RESOURCES, reserveResources: { agentId, ...r } };
  if (u) return { type: CallKind.UNRESERVE_RESOURCES, unreserveResources: { agentId, ...u } };
  if (c) return { type: CallKind.CREATE_VOLUMES, createVolumes: { agentId, ...c } };
  if (d) return { type: CallKind.DESTROY_VOLUMES, destroyVolumes: { agentId, ...d } };
  return { type: CallKind.GROW_VOLUME, growVolume: { agentId, ...(g as mesos.v1.Offer.Operation.GrowVolume) } };
}

// ---- operators

let calls = 0;
function operate(
  h: Harness,
  call: mesos.v1.master.Call.$Properties,
  principal = 'ops',
  more: mesobus.v1.OperatorCall.$Properties = {},
): Sent[] {
  calls += 1;
  const message = { callId: `o${calls}`, ...('type' in call && { call }), ...more };
  const operatorCall = decode(mesobus.v1.OperatorCall, encode(mesobus.v1.OperatorCall, message as never));
  return h.step({ kind: 'operator_call', principal, call: operatorCall, token: 'o' });
}

const agentId = { value: 'm1-S0' };
const { Type: CallKind } = mesos.v1.master.Call;
const window = { machineIds: [{ hostname: 'A1' }], unavailability: { start: { nanoseconds: 1n } } };
const key = { frameworkId: 'm1-0000', taskId: 't1' };
type OperatorCase = [
  action: string,
  objects: string,
  object: string,
  call: mesos.v1.master.Call.$Properties | Record<string, never>,
  more?: mesobus.v1.OperatorCall.$Properties,
];
const config = { role: 'ads', limits: { cpus: { value: 1 } } };
const operatorCalls: OperatorCase[] = [
  [
    'teardown_frameworks',
    'framework_principals',
    'p1',
    { type: CallKind.TEARDOWN, teardown: { frameworkId: { value: key.frameworkId } } },
  ],
  [
    'update_weights',
    'roles',
    'ads',
    { type: CallKind.UPDATE_WEIGHTS, updateWeights: { weightInfos: [{ role: 'ads', weight: 2 }] } },
  ],
  [
    'update_quotas',
    'roles',
    'ads',
    { type: CallKind.UPDATE_QUOTA, updateQuota: { quotaConfigs: [config], force: true } },
  ],
  [
    'update_quotas',
    'roles',
    'ads',
    {
      type: CallKind.SET_QUOTA,
      setQuota: { quotaRequest: { role: 'ads', force: true, guarantee: resources('cpus:1') } },
    },
  ],
  ['drain_agents', 'agents', 'a1', { type: CallKind.DRAIN_AGENT, drainAgent: { agentId } }],
  ['mark_agents_gone', 'agents', 'a1', { type: CallKind.DRAIN_AGENT, drainAgent: { agentId, markGone: true } }],
  ['deactivate_agents', 'agents', 'a1', { type: CallKind.DEACTIVATE_AGENT, deactivateAgent: { agentId } }],
  ['reactivate_agents', 'agents', 'a1', { type: CallKind.REACTIVATE_AGENT, reactivateAgent: { agentId } }],
  ['mark_agents_gone', 'agents', 'a1', { type: CallKind.MARK_AGENT_GONE, markAgentGone: { agentId } }],
  [
    'update_maintenance_schedules',
    'machines',
    'a1',
    { type: CallKind.UPDATE_MAINTENANCE_SCHEDULE, updateMaintenanceSchedule: { schedule: { windows: [window] } } },
  ],
  ['kill_tasks', 'framework_principals', 'p1', {}, { killTask: { task: key } }],
  ['pause_tasks', 'framework_principals', 'p1', {}, { pauseTask: { task: key } }],
];
for (const [action, objects, object, call, more] of operatorCalls) {
  const kind = 'type' in call ? CallKind[call.type as number] : Object.keys(more ?? {})[0];
  test(`an operator's ${kind} is decided by '${action}'`, (t) => {
    const cluster = (): Harness => {
      const h = new Harness();
      h.register('a1', { capabilities: [{ type: AGENT_DRAINING }] } as never);
      const frameworkId = h.framework();
      h.accept(frameworkId, [h.offer(frameworkId, agentId.value)], [task('t1', agentId.value)]);
      return h;
    };
    const other = cluster();
    const recorded = other.records.length;
    setAcls(other, rule(action, objects, 'ops', 'other'));
    const refused = operate(other, call as never, 'ops', more);
    t.like(refusalIn(refused), { code: 'not_authorized' });
    t.regex(refusalIn(refused)?.why ?? '', new RegExp(`'ops' may not ${action} for ${objects} '${object}'`));
    t.is(other.records.length, recorded, 'nothing has changed');

    const h = cluster();
    setAcls(h, rule(action, objects, 'ops', object));
    t.is(whyRefused(operate(h, call as never, 'somebody', more)).includes("'somebody' may not"), true);
    t.is(whyRefused(operate(h, call as never, 'ops', more)), 'accepted');
  });
}

test('who may start maintenance of one machine starts that of no other', (t) => {
  const h = new Harness();
  const windows = [{ ...window, machineIds: [{ hostname: 'a1' }, { hostname: 'a2' }] }];
  operate(h, { type: CallKind.UPDATE_MAINTENANCE_SCHEDULE, updateMaintenanceSchedule: { schedule: { windows } } });
  const acls = {
    ...rule('start_maintenances', 'machines', 'ops', 'a1'),
    ...rule('stop_maintenances', 'machines', 'ops', 'a2'),
  };
  setAcls(h, acls);
  const start = (...names: string[]) =>
    whyRefused(
      operate(h, {
        type: CallKind.START_MAINTENANCE,
        startMaintenance: { machines: names.map((hostname) => ({ hostname })) },
      }),
    );
  t.regex(start('a1', 'a2'), /may not start_maintenances for machines 'a2'/);
  t.is(start('a1'), 'accepted');
  const stop = { type: CallKind.STOP_MAINTENANCE, stopMaintenance: { machines: [{ hostname: 'a1' }] } };
  t.regex(whyRefused(operate(h, stop)), /may not stop_maintenances for machines 'a1'/);
});

test('a call that names nothing needs the permission for all', (t) => {
  const h = new Harness();
  const empty = {
    type: CallKind.UPDATE_MAINTENANCE_SCHEDULE,
    updateMaintenanceSchedule: { schedule: { windows: [] } },
  };
  setAcls(h, { permissive: false, ...rule('update_maintenance_schedules', 'machines', 'ops', 'a1') });
  t.regex(whyRefused(operate(h, empty)), /may not update_maintenance_schedules for machines ANY/);
  setAcls(h, { update_maintenance_schedules: [{ principals: only('ops'), machines: any }] });
  t.is(whyRefused(operate(h, empty)), 'accepted');
});

test('what is not there is not known, whatever one may do', (t) => {
  const h = new Harness();
  setAcls(h, { permissive: false });
  const call = { type: CallKind.MARK_AGENT_GONE, markAgentGone: { agentId: { value: 'nobody' } } };
  t.like(refusalIn(operate(h, call)), { code: 'agent_unknown' });
});

// ---- agents

test('an agent registers under a name that may', (t) => {
  const h = new Harness();
  setAcls(h, {
    register_agents: [
      { principals: only('a1'), agents: any },
      { principals: { type: 'NONE' }, agents: any },
    ],
  });
  t.truthy(agentRepliesIn(h.register('a1'))[0]?.registered);
  const refused = h.register('a2');
  t.like(refusalIn(refused), { code: 'not_authorized' });
  t.regex(refusalIn(refused)?.why ?? '', /principal 'a2' may not register_agents for agents 'a2'/);
  t.deepEqual([...h.state.ledger.agentsByName.keys()], ['a1']);
});

// ---- questions

test('the leader shows of its soft state what one may see', (t) => {
  const h = new Harness();
  const a = h.agent();
  const [web, root] = [h.framework({ user: 'web' }), h.framework({ user: 'root' }, { instanceId: 'i2' })];
  for (const frameworkId of [web, root]) h.offer(frameworkId, a, 'cpus:1');
  const quotaConfigs = [config, { ...config, role: 'eng' }];
  operate(h, { type: CallKind.UPDATE_QUOTA, updateQuota: { quotaConfigs, force: true } });
  const windows = [window, { ...window, machineIds: [{ hostname: 'a2' }] }];
  operate(h, { type: CallKind.UPDATE_MAINTENANCE_SCHEDULE, updateMaintenanceSchedule: { schedule: { windows } } });
  const seen = (principal: string) => {
    const ask = (query: mesobus.v1.MasterQuery.$Properties) =>
      answerQuery(h.state, principal, new mesobus.v1.MasterQuery(query), 1, h.now);
    const { schedule, status } = ask({ getMaintenance: {} })?.maintenance ?? {};
    return {
      offers: ask({ getOffers: {} })?.offers?.offers.map(({ offer }) => offer?.frameworkId.value),
      frameworks: ask({ getConnections: {} })?.connections?.frameworks.map(({ frameworkId }) => frameworkId),
      roles: ask({ getRoleUse: {} })?.roleUse?.roles.map(({ quota }) => quota?.role),
      scheduled: schedule?.windows?.flatMap(({ machineIds }) => machineIds?.map(({ hostname }) => hostname)),
      draining: status?.drainingMachines?.map(({ id }) => id.hostname),
    };
  };
  const offers = [...h.state.offers.values()].map(({ frameworkId }) => frameworkId);
  const all = {
    offers,
    frameworks: [web, root],
    roles: ['ads', 'eng'],
    scheduled: ['A1', 'a2'],
    draining: ['A1', 'a2'],
  };
  t.deepEqual(seen('ops'), all);
  setAcls(h, {
    permissive: false,
    view_frameworks: [{ principals: only('ops'), users: only('web') }],
    get_quotas: [{ principals: only('ops'), roles: only('eng') }],
    get_maintenance_schedules: [{ principals: only('ops'), machines: only('a1') }],
    get_maintenance_statuses: [{ principals: only('ops'), machines: only('a2') }],
  });
  t.deepEqual(seen('ops'), {
    offers: offers.filter((id) => id === web),
    frameworks: [web],
    roles: ['eng'],
    scheduled: ['A1'],
    draining: ['a2'],
  });
  t.deepEqual(seen('somebody'), { offers: [], frameworks: [], roles: [], scheduled: [], draining: [] });
});
