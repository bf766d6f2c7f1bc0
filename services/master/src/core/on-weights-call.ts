import type { mesobus, mesos } from '@mesobus/protos';
import { isSubroleOf, roleProblem } from '@mesobus/sdk/resources';
import { roleChanged } from './feed.ts';
import { rolesOf } from './frameworks.ts';
import { rescindOffers } from './offers.ts';
import type { CallRefused } from './on-agent-call.ts';
import type { State } from './state.ts';
import type { Turn } from './turn.ts';

type Records = readonly mesobus.v1.Record.$Properties[];

const maxRoleLength = 4096;

/**
 * An operator sets what roles may claim beside each other. If one of them has a framework that takes offers, in the role
 * or below it, all open offers are taken back: they were made by other claims.
 *
 * @param done - records that say that the call is carried out, for the same transaction
 * @returns why it is refused; undefined if it is carried out
 */
export function onWeightsCall(
  turn: Turn,
  { weightInfos }: mesos.v1.master.Call.UpdateWeights,
  done: Records,
): CallRefused | undefined {
  const { state } = turn;
  const problem = weightsProblem(weightInfos);
  if (problem !== undefined) return { code: 'call_invalid', subject: 'UPDATE_WEIGHTS', why: problem };
  const { roles } = state.ledger;
  const changed = weightInfos.filter(({ role, weight }) => (roles.get(role)?.weight || 1) !== weight);
  const records = changed.map(({ role, weight }) => {
    const quota = roles.get(role)?.quota;
    return { role: { role, weight, ...(quota && { quota }) } };
  });
  turn.transaction([...records, ...done]);
  for (const { role } of changed) roleChanged(state, role);
  if (changed.some(({ role }) => isActive(state, role))) {
    rescindOffers(turn, state.offers.values(), 'rescinded', 'the weights of roles have changed');
  }
  return undefined;
}

function weightsProblem(weights: readonly mesos.v1.WeightInfo[]): string | undefined {
  const roles = new Set<string>();
  for (const { role, weight } of weights) {
    if (role.length > maxRoleLength) return `a role has ${role.length} characters, of at most ${maxRoleLength}`;
    const problem = roleProblem(role);
    if (problem !== undefined) return problem;
    if (roles.size === roles.add(role).size) return `role '${role}' is named twice`;
    if (!(weight > 0) || !Number.isFinite(weight)) return `the weight of role '${role}' is ${weight}: give more than 0`;
  }
  return undefined;
}

function isActive({ frameworks, ledger }: State, role: string): boolean {
  for (const { frameworkId, connected } of frameworks.values()) {
    if (!connected) continue;
    const own = rolesOf(ledger.frameworks.get(frameworkId)?.record.info);
    if (own.some((one) => one === role || isSubroleOf(one, role))) return true;
  }
  return false;
}
