import { mesos } from '@mesobus/protos';
import { type Resources, toWire } from '../resources/index.ts';
import { type Task, taskInfoOf } from './task.ts';

type Wire = mesos.v1.Offer.Operation.$Properties;

/** What can be done with an offer. They are carried out in order. */
export type Operation =
  | { readonly kind: 'launch'; readonly tasks: readonly Task[] }
  /** Tasks that share an executor and live and die together. */
  | {
      readonly kind: 'launch_group';
      readonly executor: mesos.v1.ExecutorInfo.$Properties;
      readonly tasks: readonly Task[];
    }
  /** Set resources aside for the role; the resources say how (see `pushReservation`). */
  | { readonly kind: 'reserve' | 'unreserve'; readonly resources: Resources; readonly id?: string }
  /** Make or destroy persistent volumes. */
  | { readonly kind: 'create' | 'destroy'; readonly volumes: Resources; readonly id?: string }
  /** Anything else, as Mesos has it. */
  | { readonly kind: 'raw'; readonly operation: Wire };

const types = mesos.v1.Offer.Operation.Type;

/**
 * Operations as they travel; tasks that stand one after the other become one LAUNCH.
 *
 * @param agentId - of the offers
 */
export function wireOperationsOf(what: readonly (Operation | Task)[], agentId: string): Wire[] {
  const operations: Wire[] = [];
  let tasks: Task[] = [];
  const launch = () => {
    if (tasks.length > 0) operations.push(wireOperationOf({ kind: 'launch', tasks }, agentId));
    tasks = [];
  };
  for (const one of what) {
    if (!('kind' in one)) tasks.push(one);
    else {
      launch();
      operations.push(wireOperationOf(one, agentId));
    }
  }
  launch();
  return operations;
}

function wireOperationOf(operation: Operation, agentId: string): Wire {
  const infos = (tasks: readonly Task[]) => tasks.map((task) => taskInfoOf(task, agentId));
  switch (operation.kind) {
    case 'launch':
      return { type: types.LAUNCH, launch: { taskInfos: infos(operation.tasks) } };
    case 'launch_group': {
      const { executor, tasks } = operation;
      return { type: types.LAUNCH_GROUP, launchGroup: { executor, taskGroup: { tasks: infos(tasks) } } };
    }
    case 'reserve':
      return { type: types.RESERVE, reserve: { resources: toWire(operation.resources) }, ...idOf(operation.id) };
    case 'unreserve':
      return { type: types.UNRESERVE, unreserve: { resources: toWire(operation.resources) }, ...idOf(operation.id) };
    case 'create':
      return { type: types.CREATE, create: { volumes: toWire(operation.volumes) }, ...idOf(operation.id) };
    case 'destroy':
      return { type: types.DESTROY, destroy: { volumes: toWire(operation.volumes) }, ...idOf(operation.id) };
    case 'raw':
      return operation.operation;
  }
}

const idOf = (id: string | undefined): Pick<Wire, 'id'> => (id === undefined ? {} : { id: { value: id } });
