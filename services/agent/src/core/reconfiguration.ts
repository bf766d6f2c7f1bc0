import type { mesos } from '@mesobus/protos';
import {
  attributesFromWire,
  contains,
  describeResources,
  formatAttributes,
  formatResources,
  fromWire,
  type Resources,
  select,
  withCheckpointed,
} from '@mesobus/sdk/resources';
import type { State } from './state.ts';

type Info = mesos.v1.AgentInfo.$Properties;

/** Why this process cannot be the agent that the journal knows; undefined if it can. */
export function whyNotStart({ identity, config, checkpointed }: State): string | undefined {
  const { agentName, info, reconfiguration = 'any' } = config;
  if (!identity) return undefined;
  if (identity.agentName !== agentName) {
    return (
      `Cannot start agent '${agentName}': the work directory belongs to agent '${identity.agentName}'; ` +
      'give that name, or another work directory'
    );
  }
  const missing = missingOf(config.info, checkpointed);
  if (missing.length > 0) {
    return (
      `Cannot start agent '${agentName}': '${describeResources(missing)}' was made of resources that it has no more. ` +
      'Give it what it had and undo that first, or move its work directory away so that it joins as a new agent'
    );
  }
  // Whoever registers as a new agent may be another one.
  if (!identity.agentId || identity.retired || reconfiguration === 'any') return undefined;
  const differences = differencesOf(identity.info, info);
  const forbidden = differences.filter(({ isMore }) => reconfiguration === 'equal' || !isMore);
  if (forbidden.length === 0) return undefined;
  const advice = differences.every(({ isMore }) => isMore) ? 'start it with --reconfiguration-policy additive, ' : '';
  return (
    `Cannot start agent '${agentName}' with --reconfiguration-policy ${reconfiguration}: ` +
    `it registered as ${identity.agentId}, and since then ${forbidden.map(({ text }) => text).join('; ')}. ` +
    `Give it what it had, ${advice}or move its work directory away so that it joins as a new agent, without its tasks`
  );
}

/** Reservations and volumes that the configured resources have no room for. */
function missingOf({ resources }: Info, checkpointed: Resources): Resources {
  const total = withCheckpointed(fromWire(resources ?? []), checkpointed);
  return select(checkpointed, (one) => !total.some(({ key }) => key === one.key));
}

/** Whether a leader is told nothing new by it. */
export const sameInfo = (before: Info | null | undefined, now: Info): boolean =>
  before?.hostname === now.hostname && differencesOf(before, now).length === 0;

interface Difference {
  /** Only something was added. */
  readonly isMore: boolean;
  /** Such as `'cpus:4' became 'cpus:2'`. */
  readonly text: string;
}

function differencesOf(before: Info | null | undefined, now: Info): Difference[] {
  if (!before) return [];
  return [...changedResources(before, now), ...changedAttributes(before, now), ...changedDomain(before, now)];
}

function changedResources(before: Info, now: Info): Difference[] {
  const had = byName(fromWire(before.resources ?? []));
  const has = byName(fromWire(now.resources ?? []));
  return namesIn(had, has).flatMap((name) => {
    const [then = noneOf, today = noneOf] = [had.get(name), has.get(name)];
    const change = textOf(formatResources(then), formatResources(today));
    return change === undefined ? [] : [{ isMore: contains(today, then), text: change }];
  });
}

const noneOf = fromWire([]);

function byName(resources: Resources): Map<string, Resources> {
  const names = new Set(resources.map(({ name }) => name));
  return new Map([...names].map((name) => [name, select(resources, (resource) => resource.name === name)]));
}

/** Two attributes may have one name: the values of a name are compared together. */
function changedAttributes(before: Info, now: Info): Difference[] {
  const had = attributesByName(before);
  const has = attributesByName(now);
  return namesIn(had, has).flatMap((name) => {
    const [then = [], today = []] = [had.get(name), has.get(name)];
    const change = textOf(then.join(';'), today.join(';'));
    return change === undefined ? [] : [{ isMore: then.every((one) => today.includes(one)), text: change }];
  });
}

function attributesByName({ attributes }: Info): Map<string, string[]> {
  const values = new Map<string, string[]>();
  for (const attribute of attributesFromWire(attributes ?? [])) {
    values.set(attribute.name, [...(values.get(attribute.name) ?? []), formatAttributes([attribute])].sort());
  }
  return values;
}

function changedDomain(before: Info, now: Info): Difference[] {
  const change = textOf(domainOf(before), domainOf(now));
  return change === undefined ? [] : [{ isMore: domainOf(before) === '', text: change }];
}

function domainOf({ domain }: Info): string {
  const { region, zone } = domain?.faultDomain ?? {};
  return domain?.faultDomain ? `domain ${region?.name ?? ''}/${zone?.name ?? ''}` : '';
}

const namesIn = (a: ReadonlyMap<string, unknown>, b: ReadonlyMap<string, unknown>): string[] =>
  [...new Set([...a.keys(), ...b.keys()])].sort();

function textOf(then: string, today: string): string | undefined {
  if (then === today) return undefined;
  if (then === '') return `'${today}' was added`;
  return today === '' ? `'${then}' is gone` : `'${then}' became '${today}'`;
}
