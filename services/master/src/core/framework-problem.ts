import { constraintProblems, type RegexBounds } from '@mesobus/allocator/constraints';
import { encode, mesos } from '@mesobus/protos';
import { roleProblem } from '@mesobus/sdk/resources';
import { isCapable, rolesOf } from './frameworks.ts';

type FrameworkInfo = mesos.v1.FrameworkInfo;
type OfferConstraints = mesos.v1.scheduler.OfferConstraints;
const { MULTI_ROLE } = mesos.v1.FrameworkInfo.Capability.Type;

/** What a framework says of itself when it subscribes or changes. */
export interface FrameworkClaim {
  readonly info: FrameworkInfo;
  readonly suppressedRoles: readonly string[];
  readonly offerConstraints: OfferConstraints | null;
}

/** Says what is wrong with what a framework says of itself, in a sentence or some; undefined if nothing is. */
export function frameworkProblem(
  { info, suppressedRoles, offerConstraints }: FrameworkClaim,
  { constraintBounds }: { readonly constraintBounds: RegexBounds },
): string | undefined {
  return (
    sizeProblem(info, suppressedRoles, offerConstraints) ??
    nameProblem(info) ??
    rolesProblem(info) ??
    timeoutProblem(info) ??
    outsideProblem('suppressed role', suppressedRoles, info) ??
    outsideProblem('role with offer filters', Object.keys(info.offerFilters), info) ??
    constraintsProblem(info, offerConstraints, constraintBounds)
  );
}

/** It must fit in an entry of the log, with room to spare. */
const maxInfoBytes = 128 * 1024;

function sizeProblem(
  info: FrameworkInfo,
  suppressedRoles: readonly string[],
  constraints: OfferConstraints | null,
): string | undefined {
  const constraintBytes = constraints ? encode(mesos.v1.scheduler.OfferConstraints, constraints).length : 0;
  const suppressed = { frameworkInfo: { user: '', name: '' }, suppressedRoles: [...suppressedRoles] };
  const suppressedBytes = encode(mesos.v1.scheduler.Call.Subscribe, suppressed).length;
  const bytes = encode(mesos.v1.FrameworkInfo, info).length + suppressedBytes + constraintBytes;
  return bytes > maxInfoBytes ? `it takes ${bytes} bytes, of at most ${maxInfoBytes}` : undefined;
}

function nameProblem({ name, user }: FrameworkInfo): string | undefined {
  if (user === '') return "'user' is empty";
  if (name === '') return "'name' is empty";
  return undefined;
}

function rolesProblem(info: FrameworkInfo): string | undefined {
  const hasRole = Object.hasOwn(info, 'role') && info.role !== '' && info.role !== '*';
  if (isCapable(info, MULTI_ROLE)) {
    if (hasRole) return "'role' must not be set together with the MULTI_ROLE capability: use 'roles'";
  } else if (info.roles.length > 0) return "'roles' needs the MULTI_ROLE capability";
  const roles = rolesOf(info);
  if (new Set(roles).size < roles.length) return 'a role is named twice';
  for (const role of roles) {
    const problem = roleProblem(role);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function timeoutProblem({ failoverTimeout }: FrameworkInfo): string | undefined {
  return failoverTimeout >= 0 ? undefined : `'failover_timeout' is ${failoverTimeout}: give 0 or more seconds`;
}

function constraintsProblem(
  info: FrameworkInfo,
  constraints: OfferConstraints | null,
  bounds: RegexBounds,
): string | undefined {
  const problems = constraintProblems(constraints, rolesOf(info), bounds);
  return problems.length > 0 ? problems.join('; ') : undefined;
}

function outsideProblem(what: string, named: readonly string[], info: FrameworkInfo): string | undefined {
  const roles = new Set(rolesOf(info));
  const outside = named.find((role) => !roles.has(role));
  return outside === undefined ? undefined : `the ${what} '${outside}' is not among the framework's roles`;
}
