import { mesos } from '@mesobus/protos';
import { toQuantities } from '../resources/index.ts';
import { labelsOf } from './command.ts';

export type Capability = Exclude<keyof typeof mesos.v1.FrameworkInfo.Capability.Type, 'UNKNOWN'>;

/** How a framework presents itself. */
export interface FrameworkSettings {
  /** For people. */
  readonly name: string;
  /** The user of the agents' machines that tasks run as; default: the one that runs this process. */
  readonly user?: string;
  /** Who its resources are accounted to; default `['*']`. */
  readonly roles?: readonly string[];
  /** Of a framework that subscribed before: take it over. Store what `registered` said. */
  readonly id?: string;
  /** How long its tasks outlive its scheduler; default 0. A week is usual in production. */
  readonly failoverTimeoutMs?: number;
  /** Default: TASK_KILLING_STATE, PARTITION_AWARE, RESERVATION_REFINEMENT. MULTI_ROLE is always among them. */
  readonly capabilities?: readonly Capability[];
  /** Tasks survive a restart of their agent; default true. */
  readonly checkpoint?: boolean;
  readonly hostname?: string;
  readonly webuiUrl?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Roles for which no offers are wanted at the start. */
  readonly suppressedRoles?: readonly string[];
  /** By role: an offer must hold at least one of these, in Mesos units. */
  readonly minOffers?: Readonly<Record<string, readonly Readonly<Record<string, number>>[]>>;
  readonly offerConstraints?: mesos.v1.scheduler.OfferConstraints.$Properties;
}

const usualCapabilities: readonly Capability[] = ['TASK_KILLING_STATE', 'PARTITION_AWARE', 'RESERVATION_REFINEMENT'];

/** @param id - the framework's, once it is known */
export function frameworkInfoOf(
  settings: FrameworkSettings,
  principal: string,
  id: string | undefined,
): mesos.v1.FrameworkInfo.$Properties {
  const capabilities = new Set<Capability>(['MULTI_ROLE', ...(settings.capabilities ?? usualCapabilities)]);
  return {
    user: settings.user ?? '',
    name: settings.name,
    ...(id !== undefined && { id: { value: id } }),
    failoverTimeout: (settings.failoverTimeoutMs ?? 0) / 1000,
    checkpoint: settings.checkpoint ?? true,
    roles: [...(settings.roles ?? ['*'])],
    principal,
    capabilities: [...capabilities].map((name) => ({ type: mesos.v1.FrameworkInfo.Capability.Type[name] })),
    ...(settings.hostname !== undefined && { hostname: settings.hostname }),
    ...(settings.webuiUrl !== undefined && { webuiUrl: settings.webuiUrl }),
    ...(settings.labels !== undefined && { labels: labelsOf(settings.labels) }),
    ...(settings.minOffers !== undefined && { offerFilters: offerFiltersOf(settings.minOffers) }),
  };
}

function offerFiltersOf(minOffers: NonNullable<FrameworkSettings['minOffers']>) {
  const filters: Record<string, mesos.v1.OfferFilters.$Properties> = {};
  for (const [role, alternatives] of Object.entries(minOffers)) {
    const quantities = alternatives.map((amounts) => ({ quantities: scalarsOf(amounts) }));
    filters[role] = { minAllocatableResources: { quantities } };
  }
  return filters;
}

function scalarsOf(amounts: Readonly<Record<string, number>>): Record<string, { value: number }> {
  const rounded = Object.entries(toQuantities(amounts));
  return Object.fromEntries(rounded.map(([name, thousandths]) => [name, { value: thousandths / 1000 }]));
}
