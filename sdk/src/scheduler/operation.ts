import { mesos } from '@mesobus/protos';
import {
  type Conversion,
  convert,
  type Resources,
  toThousandths,
  toWire,
  type WireResource,
} from '../resources/index.ts';
import { type Executor, executorInfoOf } from './executor.ts';
import { type Task, taskInfoOf } from './task.ts';

type Wire = mesos.v1.Offer.Operation.$Properties;

/** What can be done with an offer. They are carried out in order. */
export type Operation =
  | { readonly kind: 'launch'; readonly tasks: readonly Task[] }
  /** Tasks that start together or not at all, and of which none lives on without the others, unless it has finished. */
  | { readonly kind: 'launch_group'; readonly executor: Executor; readonly tasks: readonly Task[] }
  /** Set resources aside for the role; the resources say how (see `reservedFor`). */
  | { readonly kind: 'reserve' | 'unreserve'; readonly resources: Resources; readonly id?: string }
  /** Make persistent volumes of reserved disk (see `volumeOf`), or destroy them with all that is in them. */
  | { readonly kind: 'create' | 'destroy'; readonly volumes: Resources; readonly id?: string }
  /** Add reserved disk to a volume. */
  | { readonly kind: 'grow'; readonly volume: Resources; readonly addition: Resources; readonly id?: string }
  /** Take disk from a volume, in MB. */
  | { readonly kind: 'shrink'; readonly volume: Resources; readonly subtractMb: number; readonly id?: string }
  /** Anything else, as Mesos has it. */
  | { readonly kind: 'raw'; readonly operation: Wire };

const types = mesos.v1.Offer.Operation.Type;

/**
 * Operations as they travel; tasks that stand one after the other become one LAUNCH.
 *
 * @param agentId - of the offers
 * @throws {ConversionError} an operation on resources makes no sense wherever it is sent
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
  check(operation);
  const infos = (tasks: readonly Task[]) => tasks.map((task) => taskInfoOf(task, agentId));
  switch (operation.kind) {
    case 'launch':
      return { type: types.LAUNCH, launch: { taskInfos: infos(operation.tasks) } };
    case 'launch_group': {
      const { executor, tasks } = operation;
      const taskGroup = { tasks: infos(tasks) };
      return { type: types.LAUNCH_GROUP, launchGroup: { executor: executorInfoOf(executor), taskGroup } };
    }
    case 'reserve':
      return { type: types.RESERVE, reserve: { resources: toWire(operation.resources) }, ...idOf(operation.id) };
    case 'unreserve':
      return { type: types.UNRESERVE, unreserve: { resources: toWire(operation.resources) }, ...idOf(operation.id) };
    case 'create':
      return { type: types.CREATE, create: { volumes: toWire(operation.volumes) }, ...idOf(operation.id) };
    case 'destroy':
      return { type: types.DESTROY, destroy: { volumes: toWire(operation.volumes) }, ...idOf(operation.id) };
    case 'grow': {
      const [volume, addition] = [...toWire(operation.volume), ...toWire(operation.addition)] as [
        WireResource,
        WireResource,
      ];
      return { type: types.GROW_VOLUME, growVolume: { volume, addition }, ...idOf(operation.id) };
    }
    case 'shrink': {
      const [volume] = toWire(operation.volume) as [WireResource];
      const subtract = { value: operation.subtractMb };
      return { type: types.SHRINK_VOLUME, shrinkVolume: { volume, subtract }, ...idOf(operation.id) };
    }
    case 'raw':
      return operation.operation;
  }
}

/** What can be known of a mistake before the master is asked. */
function check(operation: Operation): void {
  const conversion = conversionOf(operation);
  const made = conversion && convert(conversion);
  if (made?.ok === false) throw made.error;
}

function conversionOf(operation: Operation): Conversion | undefined {
  switch (operation.kind) {
    case 'reserve':
    case 'unreserve':
    case 'create':
    case 'destroy':
    case 'grow':
      return operation;
    case 'shrink':
      return { kind: 'shrink', volume: operation.volume, subtract: toThousandths(operation.subtractMb) };
    default:
      return undefined;
  }
}

const idOf = (id: string | undefined): Pick<Wire, 'id'> => (id === undefined ? {} : { id: { value: id } });
