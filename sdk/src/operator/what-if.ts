import type { mesobus } from '@mesobus/protos';
import {
  type Attribute,
  attributesToWire,
  noResources,
  type ResourcesInput,
  toResources,
  toWire,
} from '../resources/index.ts';
import { amountsOf, type Quota, quotaConfigOf, type ScalarAmounts } from './quota.ts';
import { type ShareSummary, shareSummaryOf } from './views.ts';

/** What is to be supposed. What is not named stays as it is. */
export interface WhatIfChanges {
  /** By role; above 0. */
  readonly weights?: Readonly<Record<string, number>>;
  /** By role, in place of its whole present quota; an empty one removes it. */
  readonly quotas?: Readonly<Record<string, Partial<Quota>>>;
  /** Without resources: each as those of which there are most. */
  readonly agentsAdded?: readonly {
    readonly count: number;
    readonly resources?: ResourcesInput;
    readonly attributes?: readonly Attribute[];
  }[];
  /** Their ids. */
  readonly agentsRemoved?: readonly string[];
}

/** What a full round would offer a framework in a role, if every open offer were taken back first. */
export interface SupposedOffers {
  readonly role: string;
  readonly frameworkId: string;
  /** On so many agents. */
  readonly agents: number;
  /** In all, in Mesos units. */
  readonly quantities: ScalarAmounts;
}

/** How things are, and how they would be. Shares count what would be offered as accepted. */
export interface WhatIfResult {
  readonly before: Supposed;
  readonly after: Supposed;
}

export interface Supposed {
  readonly roles: readonly ShareSummary[];
  readonly frameworks: readonly ShareSummary[];
  readonly offers: readonly SupposedOffers[];
}

/** @throws {MalformedResourceError} resources cannot be read */
export function whatIfToWire(changes: WhatIfChanges): mesobus.v1.WhatIf.$Properties {
  const { weights = {}, quotas = {}, agentsAdded = [], agentsRemoved = [] } = changes;
  const roles = new Map<string, mesobus.v1.RoleBook.$Properties>();
  for (const [role, weight] of Object.entries(weights)) roles.set(role, { role, weight });
  for (const [role, quota] of Object.entries(quotas)) {
    roles.set(role, { role, ...roles.get(role), quota: quotaConfigOf({ role, ...quota }) });
  }
  return {
    roles: [...roles.values()],
    agentsAdded: agentsAdded.map(({ count, resources = noResources, attributes = [] }) => ({
      count,
      resources: toWire(toResources(resources)),
      attributes: attributesToWire(attributes),
    })),
    agentsRemoved: [...agentsRemoved],
  };
}

export function whatIfResultOf(raw: mesobus.v1.WhatIfAnswer): WhatIfResult {
  return {
    before: supposedOf(raw.sharesBefore, raw.offersBefore),
    after: supposedOf(raw.sharesAfter, raw.offersAfter),
  };
}

function supposedOf(shares: mesobus.v1.ShareList | null, offers: readonly mesobus.v1.OfferedTo[]): Supposed {
  return {
    roles: (shares?.roles ?? []).map(shareSummaryOf),
    frameworks: (shares?.frameworks ?? []).map(shareSummaryOf),
    offers: offers.map(({ role, frameworkId, agents, quantities }) => ({
      role,
      frameworkId,
      agents,
      quantities: amountsOf(quantities),
    })),
  };
}
