import { type mesobus, mesos } from '@mesobus/protos';
import {
  type Amounts,
  type Attribute,
  attributesFromWire,
  fromWire,
  type Resources,
  readAmounts,
  withCheckpointed,
} from '../resources/index.ts';
import { Offer } from '../scheduler/offer.ts';
import {
  type OperationStatus,
  type TaskState,
  type TaskStatus,
  taskStateOf,
  taskStatusOf,
} from '../scheduler/task-status.ts';
import { amountsOf, type Quota, quotaOf, type ScalarAmounts } from './quota.ts';

type V1 = typeof mesobus.v1;
type Raw<Name extends keyof V1> = V1[Name] extends new (...args: never[]) => infer View ? View : never;

export interface AgentSummary {
  readonly id: string;
  /** What its subjects are called by; stays the same when it gets another id. */
  readonly name: string;
  readonly hostname: string;
  readonly lifecycle: 'admitted' | 'unreachable' | 'gone';
  /** Takes no new tasks. */
  readonly deactivated: boolean;
  /** Its tasks are being ended; it is deactivated too. */
  readonly draining: boolean;
  /** They have all ended, and their ends are acknowledged. */
  readonly drained: boolean;
  /** Its resources in Mesos units. */
  readonly total: Amounts;
  readonly allocated: Amounts;
  /** What it has, with the reservations and volumes that were made of it. */
  readonly resources: Resources;
  readonly attributes: readonly Attribute[];
  /** How many it has. */
  readonly tasks: number;
  /** Of frameworks, until they have ended. */
  readonly executors: readonly ExecutorSummary[];
  readonly version: string;
  readonly registeredAt: Date;
  readonly raw: Raw<'AgentView'>;
}

/** A run of an executor. */
export interface ExecutorSummary {
  readonly id: string;
  readonly frameworkId: string;
  /** Whose resources it holds. */
  readonly role: string;
  /** Without those of its tasks, in Mesos units. */
  readonly allocated: Amounts;
  readonly startedAt: Date;
}

const executorSummaryOf = ({ frameworkId, info, run, startedAtMs }: Raw<'ExecutorRecord'>): ExecutorSummary => ({
  id: info?.executorId.value ?? '',
  frameworkId,
  role: run?.role ?? '',
  allocated: readAmounts(fromWire(info?.resources ?? [])),
  startedAt: new Date(startedAtMs),
});

const lifecycles = ['admitted', 'unreachable', 'gone'] as const;

export function agentSummaryOf(raw: Raw<'AgentView'>): AgentSummary {
  const { agent } = raw;
  return {
    id: agent?.agentId ?? '',
    name: agent?.agentName ?? '',
    hostname: agent?.info?.hostname ?? '',
    lifecycle: lifecycles[agent?.lifecycle ?? 0] ?? 'admitted',
    deactivated: agent?.deactivated ?? false,
    draining: agent?.drain != null && !agent.drained,
    drained: agent?.drained ?? false,
    total: readAmounts(fromWire(agent?.info?.resources ?? [])),
    allocated: readAmounts(fromWire(raw.allocated)),
    resources: withCheckpointed(fromWire(agent?.info?.resources ?? []), fromWire(agent?.checkpointedResources ?? [])),
    attributes: attributesFromWire(agent?.info?.attributes ?? []),
    tasks: raw.tasks,
    executors: raw.executors.map(executorSummaryOf),
    version: agent?.version ?? '',
    registeredAt: new Date(agent?.registeredAtMs ?? 0),
    raw,
  };
}

/** An operation on resources that is not done yet, or that its framework has not acknowledged. */
export interface OperationSummary {
  /** That its framework gave it; empty if none. */
  readonly id: string;
  /** As Mesos names it: RESERVE, CREATE and so on. */
  readonly kind: string;
  readonly agentId: string;
  /** Empty: an operator wants it. */
  readonly frameworkId: string;
  readonly principal: string;
  readonly state: OperationStatus['state'];
  /** Why it was not done; empty otherwise. */
  readonly message: string;
  readonly issuedAt: Date;
  readonly raw: Raw<'OperationRecord'>;
}

export function operationSummaryOf(raw: Raw<'OperationRecord'>): OperationSummary {
  const { operation, agentId, frameworkId, principal, issuedAtMs } = raw;
  const { state, message } = operation?.latestStatus ?? {};
  return {
    id: operation?.info.id?.value ?? '',
    kind: mesos.v1.Offer.Operation.Type[operation?.info.type ?? 0] ?? 'UNKNOWN',
    agentId,
    frameworkId,
    principal,
    state: (mesos.v1.OperationState[state ?? 1] as OperationStatus['state'] | undefined) ?? 'OPERATION_UNKNOWN',
    message: message ?? '',
    issuedAt: new Date(issuedAtMs),
    raw,
  };
}

export interface FrameworkSummary {
  readonly id: string;
  readonly name: string;
  readonly user: string;
  readonly principal: string;
  readonly roles: readonly string[];
  readonly suppressedRoles: readonly string[];
  readonly removed: boolean;
  /** In Mesos units. */
  readonly allocated: Amounts;
  /** How many it has. */
  readonly tasks: number;
  readonly webuiUrl: string;
  readonly registeredAt: Date;
  readonly raw: Raw<'FrameworkView'>;
}

export function frameworkSummaryOf(raw: Raw<'FrameworkView'>): FrameworkSummary {
  const { framework } = raw;
  return {
    id: framework?.frameworkId ?? '',
    name: framework?.info?.name ?? '',
    user: framework?.info?.user ?? '',
    principal: framework?.principal ?? '',
    roles: framework?.info?.roles ?? [],
    suppressedRoles: framework?.suppressedRoles ?? [],
    removed: framework?.lifecycle === 1,
    allocated: readAmounts(fromWire(raw.allocated)),
    tasks: raw.tasks,
    webuiUrl: framework?.info?.webuiUrl ?? '',
    registeredAt: new Date(framework?.registeredAtMs ?? 0),
    raw,
  };
}

export interface TaskSummary {
  readonly id: string;
  readonly name: string;
  readonly frameworkId: string;
  readonly agentId: string;
  readonly role: string;
  readonly state: TaskState;
  /** What it holds. */
  readonly resources: Resources;
  readonly amounts: Amounts;
  readonly launchedAt: Date;
  /** The latest status; absent until there is one. */
  readonly status?: TaskStatus;
  readonly raw: Raw<'TaskView'>;
}

export function taskSummaryOf(raw: Raw<'TaskView'>): TaskSummary {
  const { launched, latest } = raw;
  const resources = fromWire(launched?.resources ?? []);
  return {
    id: launched?.task?.taskId.value ?? '',
    name: launched?.task?.name ?? '',
    frameworkId: launched?.frameworkId ?? '',
    agentId: launched?.agentId ?? '',
    role: launched?.role ?? '*',
    state: latest === null ? 'TASK_STAGING' : taskStateOf(latest.state),
    resources,
    amounts: readAmounts(resources),
    launchedAt: new Date(launched?.acceptedAtMs ?? 0),
    ...(latest?.status && { status: taskStatusOf(latest.status) }),
    raw,
  };
}

export interface RoleSummary {
  readonly role: string;
  /** Its claim beside other roles; 1 unless set. */
  readonly weight: number;
  /** In Mesos units. */
  readonly allocated: Amounts;
  readonly frameworkIds: readonly string[];
  readonly quota?: Quota;
  readonly raw: Raw<'RoleView'>;
}

export function roleSummaryOf(raw: Raw<'RoleView'>): RoleSummary {
  return {
    role: raw.role?.role ?? '',
    weight: raw.role?.weight || 1,
    allocated: readAmounts(fromWire(raw.allocated)),
    frameworkIds: raw.frameworkIds,
    ...(raw.role?.quota && { quota: quotaOf(raw.role.quota) }),
    raw,
  };
}

/** The cluster at a glance, as one registry sees it. */
export interface ClusterStatus {
  readonly registryId: string;
  /** The master that leads, and its epoch. */
  readonly masterId: string;
  readonly epoch: number;
  readonly logIndex: number;
  /** In hex: two registries at one index must agree. */
  readonly ledgerHash: string;
  readonly agents: number;
  readonly frameworks: number;
  readonly tasks: number;
}

export function clusterStatusOf(raw: Raw<'RegistryStatus'>): ClusterStatus {
  const { registryId, masterId, epoch, logIndex, ledgerHash, agents, frameworks, tasks } = raw;
  const hash = Buffer.from(ledgerHash).toString('hex');
  return { registryId, masterId, epoch, logIndex, ledgerHash: hash, agents, frameworks, tasks };
}

export interface OpenOfferSummary {
  readonly offer: Offer;
  readonly offeredAt: Date;
}

export const openOfferSummariesOf = ({ offers }: Raw<'OfferList'>): OpenOfferSummary[] =>
  offers.flatMap(({ offer, offeredAtMs }) =>
    offer === null ? [] : [{ offer: new Offer(offer), offeredAt: new Date(offeredAtMs) }],
  );

/** A framework as the leading master knows it, beyond what is written down. */
export interface FrameworkConnection {
  readonly frameworkId: string;
  readonly connected: boolean;
  /** That it has, and that it has not answered yet. */
  readonly openOffers: number;
  /** So many it may have; 0 for any number. It shrinks while it lets offers expire. */
  readonly maxOpenOffers: number;
  readonly answeredOffers: number;
  /** That it has not answered in time. */
  readonly expiredOffers: number;
  /** Its next offer expires after so long; 0 for never. */
  readonly offerTimeoutMs: number;
  /** It takes so long from an offer to its answer, on average; 0 if it has answered none. */
  readonly decisionMs: number;
  /** By scalar: its amount in Mesos units, times the seconds for which it lay in offers to the framework. */
  readonly heldSeconds: ScalarAmounts;
  /** Roles of which it has said what it wants: sizes in Mesos units (ranges and sets by how many), and how often each. */
  readonly demands: readonly {
    readonly role: string;
    readonly shapes: readonly { readonly quantities: ScalarAmounts; readonly count: number }[];
  }[];
}

function frameworkConnectionOf(raw: Raw<'FrameworkConnection'>): FrameworkConnection {
  const { frameworkId, connected, openOffers, maxOpenOffers, answeredOffers, expiredOffers } = raw;
  return {
    frameworkId,
    connected,
    openOffers,
    maxOpenOffers,
    answeredOffers,
    expiredOffers,
    offerTimeoutMs: raw.offerTimeoutMs,
    decisionMs: raw.decisionMs,
    heldSeconds: amountsOf(raw.heldSeconds),
    demands: raw.demands.map(({ role, shapes }) => ({
      role,
      shapes: shapes.map(({ quantities, count }) => ({ quantities: amountsOf(quantities), count })),
    })),
  };
}

export interface AgentConnection {
  readonly agentId: string;
  readonly connected: boolean;
  readonly lastHeardAt: Date;
  /** What it estimates to be allocated and idle: it is offered once more, to those who can give it back. */
  readonly revocable: Amounts;
}

/** Whom the leading master hears. */
export interface Connections {
  readonly masterId: string;
  readonly epoch: number;
  readonly electedAt: Date;
  readonly agents: readonly AgentConnection[];
  readonly frameworks: readonly FrameworkConnection[];
  readonly allocators: readonly { readonly allocatorId: string; readonly appointed: boolean }[];
}

export function connectionsOf(raw: Raw<'ConnectionList'>): Connections {
  return {
    masterId: raw.masterId,
    epoch: raw.epoch,
    electedAt: new Date(raw.electedAtMs),
    agents: raw.agents.map(({ agentId, connected, lastHeardAtMs, revocable }) => ({
      agentId,
      connected,
      lastHeardAt: new Date(lastHeardAtMs),
      revocable: readAmounts(fromWire(revocable)),
    })),
    frameworks: raw.frameworks.map(frameworkConnectionOf),
    allocators: raw.allocators.map(({ allocatorId, appointed }) => ({ allocatorId, appointed })),
  };
}

/** What a role, or a framework within its role, has of the cluster. */
export interface ShareSummary {
  readonly role: string;
  /** Empty for a role as a whole. */
  readonly frameworkId: string;
  readonly weight: number;
  /** Its largest fraction of any one resource, from 0 to 1. */
  readonly dominantShare: number;
  readonly dominantResource: string;
  readonly suppressed: boolean;
}

export const shareSummaryOf = (raw: Raw<'Share'>): ShareSummary => {
  const { role, frameworkId, weight, dominantShare, dominantResource, suppressed } = raw;
  return { role, frameworkId, weight, dominantShare, dominantResource, suppressed };
};
