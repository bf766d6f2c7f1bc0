import { mesobus, mesos } from '@mesobus/protos';
import { notAllowed, wantedByFramework } from './authorization.ts';
import type { CallTurn } from './call-turn.ts';
import { filtersLifted, frameworkChanged } from './feed.ts';
import { frameworkProblem } from './framework-problem.ts';
import { rolesOf } from './frameworks.ts';
import { reviveInverseOffers } from './inverse-offers.ts';
import { rescindOffers } from './offers.ts';

type Call = typeof mesos.v1.scheduler.Call;
type UpdateFramework = InstanceType<Call['UpdateFramework']>;

/** A framework wants offers again: for these roles, or for all of its. */
export function onRevive(turn: CallTurn, named: readonly string[]): void {
  const roles = usableRoles(turn, 'REVIVE', named);
  if (roles !== undefined) {
    const lifted = new Set(roles);
    suppressOnly(turn, (suppressed) => suppressed.filter((role) => !lifted.has(role)));
    filtersLifted(turn.state, turn.framework.id, named);
    reviveInverseOffers(turn.state, turn.framework.id);
  }
  turn.accept('now', false);
}

/** A framework wants no offers: for these roles, or for all of its. */
export function onSuppress(turn: CallTurn, named: readonly string[]): void {
  const roles = usableRoles(turn, 'SUPPRESS', named);
  if (roles !== undefined) suppressOnly(turn, (suppressed) => [...new Set([...suppressed, ...roles])]);
  turn.accept('now', false);
}

/** One wrong role makes the whole call void, as in Mesos. */
function usableRoles(turn: CallTurn, call: string, named: readonly string[]): readonly string[] | undefined {
  const own = rolesOf(turn.framework.record.info);
  if (named.length === 0) return own;
  const stranger = named.find((role) => !own.includes(role));
  if (stranger === undefined) return named;
  const fields = { framework: turn.framework.id, call, role: stranger };
  turn.log('info', 'a call is void: it names a role that the framework does not have', fields);
  return undefined;
}

function suppressOnly(turn: CallTurn, change: (suppressed: readonly string[]) => string[]): void {
  const { framework } = turn;
  const suppressedRoles = change(framework.record.suppressedRoles);
  const before = new Set(framework.record.suppressedRoles);
  if (before.size === suppressedRoles.length && suppressedRoles.every((role) => before.has(role))) return;
  const record = new mesobus.v1.FrameworkRecord({ ...framework.record, suppressedRoles });
  turn.commit([{ framework: record }], 'riding');
  frameworkChanged(turn.state, framework.id);
}

/** A framework changes what it has said of itself, without subscribing anew. */
export function onUpdateFramework(turn: CallTurn, update: UpdateFramework): void {
  const { framework, state } = turn;
  const claim = { ...update, info: update.frameworkInfo };
  const problem = frameworkProblem(claim, state.config) ?? changeProblem(turn, update.frameworkInfo);
  if (problem !== undefined) {
    turn.refuse('call_invalid', framework.id, problem);
    return;
  }
  const denied = notAllowed(state, turn.principal, wantedByFramework(update.frameworkInfo));
  if (denied !== undefined) {
    turn.refuse('not_authorized', framework.id, denied);
    return;
  }

  const { suppressedRoles, offerConstraints, frameworkInfo } = update;
  const info = new mesos.v1.FrameworkInfo({ ...frameworkInfo, principal: framework.record.info?.principal ?? '' });
  const said = { info, suppressedRoles, offerConstraints };
  turn.commit([{ framework: new mesobus.v1.FrameworkRecord({ ...framework.record, ...said }) }]);

  const roles = new Set(rolesOf(info));
  const link = state.frameworks.get(framework.id);
  if (link !== undefined) link.demands = link.demands.filter(({ role }) => roles.has(role));
  const offers = [...(link?.offers ?? [])];
  rescindOffers(
    turn,
    offers.filter(({ role }) => !roles.has(role)),
    'rescinded',
  );
  frameworkChanged(state, framework.id);
  turn.accept('barrier', true);
}

/** What a framework may not change. */
function changeProblem(turn: CallTurn, info: mesos.v1.FrameworkInfo): string | undefined {
  const { framework } = turn;
  const before = framework.record.info;
  if (info.id?.value !== framework.id) return `'framework_info.id' is not '${framework.id}'`;
  if (info.principal !== '' && info.principal !== before?.principal) return "'principal' may not change";
  if (info.user !== before?.user) return "'user' may not change";
  if (info.checkpoint !== before.checkpoint) return "'checkpoint' may not change";
  return undefined;
}
