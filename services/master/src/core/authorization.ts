/*
 * Who may do what: what a call asks for, in the words of the ACLs, and whether its principal may. All that is refused
 * for want of a permission is refused by what this file says.
 */
import type { mesobus, mesos } from '@mesobus/protos';
import { type Action, authorize } from '@mesobus/sdk/authorization';
import { type Conversion, type Resource, type Resources, reservationRole } from '@mesobus/sdk/resources';
import { rolesOf } from './frameworks.ts';
import { machineKey } from './machines.ts';
import { secretNamesIn } from './secret-problem.ts';
import type { State } from './state.ts';

/** One thing of which a permission is needed; without an object: for all there are. */
type Wanted = readonly [action: Action, object: string | undefined];

type Call = mesos.v1.master.Call;

/**
 * Why a principal may not do all of this, in a sentence; undefined if it may, and where there are no ACLs.
 *
 * @param wanted - looked at only where there are ACLs
 */
export function notAllowed({ acls }: State, principal: string, wanted: Iterable<Wanted>): string | undefined {
  if (acls === undefined) return undefined;
  for (const [action, object] of wanted) {
    const decision = authorize(acls, principal, action, object);
    if (!decision.allowed) return decision.why;
  }
  return undefined;
}

/** The objects of a call, one by one; a call that names none is about all of them. */
function* each(action: Action, objects: Iterable<string | undefined>): Iterable<Wanted> {
  const distinct = new Set(objects);
  if (distinct.size === 0) distinct.add(undefined);
  for (const object of distinct) yield [action, object];
}

// ---- frameworks

export const wantedByFramework = (info: mesos.v1.FrameworkInfo): Iterable<Wanted> =>
  each('register_frameworks', rolesOf(info));

/** Tasks that are launched by one command, each as its user, with the secrets that they and their executor name. */
export function* wantedByTasks(
  framework: mesos.v1.FrameworkInfo | null,
  tasks: readonly mesos.v1.TaskInfo[],
  executor: mesos.v1.ExecutorInfo | null,
): Iterable<Wanted> {
  const commands = [executor, ...tasks].flatMap((one) => one?.command ?? []);
  const users = commands.map(({ user }) => user || framework?.user);
  yield* each('run_tasks', users.length > 0 ? users : [framework?.user]);
  const secrets = new Set([executor, ...tasks].flatMap((one) => (one ? secretNamesIn(one) : [])));
  for (const secret of secrets) yield ['use_secrets', secret];
}

/** @param total - of the agent: it knows who has made a volume, whatever the call says */
export function* wantedByConversion(conversion: Conversion, total: Resources): Iterable<Wanted> {
  switch (conversion.kind) {
    case 'reserve':
      yield* each('reserve_resources', conversion.resources.map(reservationRole));
      if (conversion.source) yield* each('unreserve_resources', conversion.source.map(reserverOf));
      break;
    case 'unreserve':
      yield* each('unreserve_resources', conversion.resources.map(reserverOf));
      break;
    case 'create':
      yield* each('create_volumes', conversion.volumes.map(reservationRole));
      break;
    case 'destroy': {
      const creators = new Map(total.map(({ key, disk }) => [key, disk?.persistence?.principal]));
      yield* each(
        'destroy_volumes',
        conversion.volumes.map(({ key }) => creators.get(key)),
      );
      break;
    }
    default:
      yield* each('resize_volumes', conversion.volume.map(reservationRole));
  }
}

const reserverOf = ({ reservations }: Resource): string | undefined => reservations?.at(-1)?.principal;

// ---- agents

export const wantedByAgent = (agentName: string): Iterable<Wanted> => [['register_agents', agentName]];

// ---- operators

/** What a call of an operator asks for, but for conversions of resources. Nothing, if what it is about is not known. */
export function* wantedByOperator(state: State, operatorCall: mesobus.v1.OperatorCall): Iterable<Wanted> {
  const { call, killTask, pauseTask, resumeTask } = operatorCall;
  if (killTask) yield* ofFramework(state, 'kill_tasks', killTask.task?.frameworkId ?? '');
  const pausing = pauseTask ?? resumeTask;
  if (pausing) yield* ofFramework(state, 'pause_tasks', pausing.task?.frameworkId ?? '');
  if (call === null) return;
  yield* ofRoles(call);
  yield* ofMachines(state, call);
  yield* ofAgent(state, call);
  if (call.teardown) yield* ofFramework(state, 'teardown_frameworks', call.teardown.frameworkId.value);
}

function* ofRoles({ updateWeights, updateQuota, setQuota, removeQuota }: Call): Iterable<Wanted> {
  if (updateWeights)
    yield* each(
      'update_weights',
      updateWeights.weightInfos.map(({ role }) => role),
    );
  if (updateQuota)
    yield* each(
      'update_quotas',
      updateQuota.quotaConfigs.map(({ role }) => role),
    );
  if (setQuota) yield ['update_quotas', setQuota.quotaRequest.role];
  if (removeQuota) yield ['update_quotas', removeQuota.role];
}

function* ofMachines({ machines }: State, call: Call): Iterable<Wanted> {
  const { updateMaintenanceSchedule: update, startMaintenance: start, stopMaintenance: stop } = call;
  if (update) {
    const [before, after] = [[...machines.scheduled.values()], update.schedule.windows];
    const named = [...before.map(({ id }) => id), ...after.flatMap(({ machineIds }) => machineIds)];
    yield* each('update_maintenance_schedules', named.map(machineKey));
  }
  if (start) yield* each('start_maintenances', start.machines.map(machineKey));
  if (stop) yield* each('stop_maintenances', stop.machines.map(machineKey));
}

function* ofAgent({ ledger }: State, call: Call): Iterable<Wanted> {
  const { drainAgent, deactivateAgent, reactivateAgent, markAgentGone } = call;
  const { agentId } = drainAgent ?? deactivateAgent ?? reactivateAgent ?? markAgentGone ?? {};
  const name = agentId && ledger.agents.get(agentId.value)?.record.agentName;
  if (name === undefined) return;
  if (drainAgent) yield ['drain_agents', name];
  if (deactivateAgent) yield ['deactivate_agents', name];
  if (reactivateAgent) yield ['reactivate_agents', name];
  if (markAgentGone || drainAgent?.markGone) yield ['mark_agents_gone', name];
}

function* ofFramework({ ledger }: State, action: Action, frameworkId: string): Iterable<Wanted> {
  const framework = ledger.frameworks.get(frameworkId);
  if (framework !== undefined) yield [action, framework.record.principal];
}

// ---- questions

/** Whether somebody may see what is about this object. */
export type MaySee = (action: Action, object: string | undefined) => boolean;

export const sightOf =
  (state: State, principal: string): MaySee =>
  (action, object) =>
    notAllowed(state, principal, [[action, object]]) === undefined;
