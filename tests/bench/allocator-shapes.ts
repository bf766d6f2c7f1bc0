// Clusters as in Mesos' allocator benchmarks.
import { type mesobus, mesos } from '@mesobus/protos';
import { parseResources, pushReservation, type Resources, resourcesOf, sum, toWire } from '@mesobus/sdk/resources';

export const shapes = ['add', 'decline', 'suppress', 'quota', 'labels', 'volumes', 'overdue'] as const;
export type ClusterShape = (typeof shapes)[number];

type Item = mesobus.v1.FeedItem.$Properties;

export interface Cluster {
  readonly agents: number;
  readonly roles: readonly Item[];
  readonly frameworks: readonly Item[];
  agentItem(index: number): Item;
  /** The same agent, with nothing held. */
  freedAgentItem(index: number): Item;
}

const fragments = Array.from({ length: 16 }, (_, i) => `${31_000 + i * 62}-${31_000 + i * 62 + 30}`).join(',');
const { SHARED_RESOURCES, RESERVATION_REFINEMENT, MULTI_ROLE } = mesos.v1.FrameworkInfo.Capability.Type;
const agentCan = [{ type: mesos.v1.AgentInfo.Capability.Type.MULTI_ROLE }];

/** What agents have, and what is in use on each by one framework after the other. */
const sizes: Readonly<Record<ClusterShape, { total: string; used: string }>> = {
  add: {
    total: 'cpus:2;mem:1024;disk:4096;ports:[31000-32000]',
    used: `cpus:1;mem:128;disk:1024;ports:[${fragments}]`,
  },
  decline: { total: 'cpus:24;mem:4096;disk:4096;ports:[31000-32000]', used: 'cpus:16;mem:2014;disk:1024' },
  suppress: { total: 'cpus:24;mem:4096;disk:4096;ports:[31000-32000]', used: 'cpus:16;mem:2014;disk:1024' },
  quota: { total: 'cpus:2;mem:2048;disk:2048', used: 'cpus:0.5;mem:512' },
  labels: { total: 'cpus:24;mem:4096;disk:4096;ports:[31000-32000]', used: 'cpus:8;mem:1024' },
  volumes: { total: 'cpus:24;mem:4096;disk:4096;ports:[31000-32000]', used: 'cpus:8;mem:1024' },
  overdue: { total: 'cpus:24;mem:4096;disk:4096', used: 'cpus:24;mem:4096;disk:4096' },
};

export function createCluster(shape: ClusterShape, agents: number, count: number): Cluster {
  const { total, used } = sizes[shape];
  const shared = toWire(parseResources(total));
  const held = toWire(parseResources(used));
  const roleOf = (index: number): string => (shape === 'quota' ? `role-${index}` : '*');
  const reserving = shape === 'labels' || shape === 'volumes';
  const frameworkRole = (index: number): string => (reserving ? 'role-0' : roleOf(index));
  const agentItem = (index: number, holds: boolean): Item => {
    const framework = index % count;
    // Everything lies in offers that nobody answers.
    const offered = shape === 'overdue' ? held : [];
    const holding = { frameworkId: `f${framework}`, role: frameworkRole(framework), resources: held, offered };
    return {
      agent: {
        agentId: `agent-${index}`,
        hostname: `host-${index}`,
        active: true,
        capabilities: agentCan,
        total: reserving ? [...shared, ...toWire(special(shape, index))] : shared,
        holdings: holds ? [holding] : [],
      },
    };
  };
  return {
    agents,
    roles: shape === 'quota' ? Array.from({ length: count }, (_, i) => quotaItem(roleOf(i), i, agents / count)) : [],
    frameworks: Array.from({ length: count }, (_, i) => ({
      framework: {
        frameworkId: `f${i}`,
        active: true,
        roles: [frameworkRole(i)],
        capabilities: [SHARED_RESOURCES, RESERVATION_REFINEMENT, MULTI_ROLE].map((type) => ({ type })),
      },
    })),
    agentItem: (index) => agentItem(index, true),
    freedAgentItem: (index) => agentItem(index, false),
  };
}

/** Half of the roles are guaranteed half of what is theirs, and all are limited to twice as much. */
function quotaItem(role: string, index: number, agents: number): Item {
  const guarantees = { cpus: { value: agents }, mem: { value: 1024 * agents } };
  const limits = { cpus: { value: 4 * agents }, mem: { value: 4096 * agents } };
  return { role: { role, weight: 1, quota: { role, guarantees: index % 2 === 0 ? guarantees : {}, limits } } };
}

function special(shape: ClusterShape, index: number): Resources {
  return shape === 'labels' ? labelled(index) : volumes(index);
}

/** Two reservations with twelve labels each, alike but for the last; no two agents have the same. */
function labelled(index: number): Resources {
  const reserve = (last: string): Resources => {
    const labels = Array.from({ length: 11 }, (_, i) => ({ key: `key-${i}`, value: `value-${i}` }));
    const reservation = { type: 'dynamic', role: 'role-0', principal: 'ops' } as const;
    return pushReservation(parseResources('cpus:1;mem:128'), {
      ...reservation,
      labels: [...labels, { key: `${last}-${index}`, value: 'last' }],
    });
  };
  return sum([reserve('a'), reserve('b')]);
}

/** Two persistent volumes, one of them shared. */
function volumes(index: number): Resources {
  const reservations = [{ type: 'dynamic', role: 'role-0', principal: 'ops' }] as const;
  const volume = (id: string) => ({
    persistence: { id: `${id}-${index}` },
    volume: { mode: 'read-write' as const, containerPath: 'data' },
  });
  return resourcesOf([
    { name: 'disk', kind: 'scalar', amount: 512_000, reservations, disk: volume('own') },
    { name: 'disk', kind: 'scalar', amount: 512_000, reservations, disk: volume('shared'), shared: true },
  ]);
}

/** A framework that wants what any agent has, what none has enough of, or an agent that is not there, by turns. */
export function overdueFramework(index: number): Item {
  const cpus = { value: index % 3 === 1 ? 25 : 1 };
  const constraint = { selector: { attributeName: 'rack' }, predicate: { exists: {} } };
  const roleConstraints = { '*': { groups: [{ attributeConstraints: [constraint] }] } };
  return {
    framework: {
      frameworkId: `overdue${index}`,
      active: true,
      roles: ['*'],
      demands: [{ role: '*', shapes: [{ count: 1, quantities: { cpus } }] }],
      ...(index % 3 === 2 && { offerConstraints: { roleConstraints } }),
    },
  };
}
