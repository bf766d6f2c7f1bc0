import { encode, type mesobus, mesos } from '@mesobus/protos';
import { fromWire, quantitiesOf } from '@mesobus/sdk/resources';
import { stopCounting } from './consumption.ts';
import { roleChanged } from './feed.ts';
import type { CallRefused } from './on-agent-call.ts';
import { configOf, isNone, type Quota, quotaOf, quotasIn, sameQuota } from './quota.ts';
import { configProblem, contradiction, guaranteeProblem, overcommitment } from './quota-problem.ts';
import { rescindForQuotas } from './rescind-for-quotas.ts';
import type { State } from './state.ts';
import type { Turn } from './turn.ts';

type Records = readonly mesobus.v1.Record.$Properties[];
type QuotaConfig = mesos.v1.quota.QuotaConfig;

/** All roles of a call stand in one entry of the log. */
const maxCallBytes = 240 * 1024;

/**
 * An operator's call about quotas. All of its roles change, or none.
 *
 * @param done - records that say that the call is carried out, for the same transaction
 * @returns why it is refused; undefined if it is carried out
 */
export function onQuotaCall(turn: Turn, call: mesos.v1.master.Call, done: Records): CallRefused | undefined {
  const { updateQuota, setQuota, removeQuota } = call;
  const name = mesos.v1.master.Call.Type[call.type] ?? 'UPDATE_QUOTA';
  const configs = updateQuota ? updateQuota.quotaConfigs : oldStyleConfigs(turn.state, call);
  const force = updateQuota?.force ?? setQuota?.quotaRequest.force ?? removeQuota !== null;
  const problem = typeof configs === 'string' ? configs : callProblem(configs);
  if (problem !== undefined || typeof configs === 'string') {
    return { code: 'call_invalid', subject: name, why: problem ?? '' };
  }
  const why = change(turn, new Map(configs.map((config) => [config.role, quotaOf(config)])), force, done);
  return why === undefined ? undefined : { code: 'call_invalid', subject: name, why };
}

/** The old calls as new ones: a guarantee is the limit too. @returns what is wrong, if it is no such call */
function oldStyleConfigs({ ledger }: State, { setQuota, removeQuota }: mesos.v1.master.Call): QuotaConfig[] | string {
  if (removeQuota) {
    const { role } = removeQuota;
    if (!ledger.roles.get(role)?.quota) return `role '${role}' has no quota`;
    return [new mesos.v1.quota.QuotaConfig({ role })];
  }
  const { role, guarantee } = setQuota?.quotaRequest ?? new mesos.v1.quota.QuotaRequest();
  if (ledger.roles.get(role)?.quota) return `role '${role}' has a quota already; use UPDATE_QUOTA to change it`;
  const problem = guaranteeProblem(guarantee);
  if (problem !== undefined) return problem;
  const amounts = new Map(Object.entries(quantitiesOf(fromWire(guarantee))));
  return [configOf(role, { guarantees: amounts, limits: amounts })];
}

function callProblem(configs: readonly QuotaConfig[]): string | undefined {
  const roles = new Set<string>();
  let bytes = 0;
  for (const config of configs) {
    const problem = configProblem(config);
    if (problem !== undefined) return problem;
    if (roles.size === roles.add(config.role).size) return `role '${config.role}' is named twice`;
    bytes += encode(mesos.v1.quota.QuotaConfig, config).length;
  }
  if (bytes > maxCallBytes) return `it takes ${bytes} bytes, of at most ${maxCallBytes}; name fewer roles at a time`;
  return configs.length === 0 ? 'it names no role' : undefined;
}

/** @returns why not; undefined if it is done */
function change(turn: Turn, wanted: ReadonlyMap<string, Quota>, force: boolean, done: Records): string | undefined {
  const { state } = turn;
  const quotas = quotasIn(state.ledger);
  const changed = new Set<string>();
  for (const [role, quota] of wanted) {
    if (sameQuota(quotas.get(role), quota)) continue;
    changed.add(role);
    if (isNone(quota)) quotas.delete(role);
    else quotas.set(role, quota);
  }
  if (changed.size === 0) {
    turn.transaction(done);
    return undefined;
  }
  const problem = contradiction(quotas) ?? (force ? undefined : overcommitment(state, quotas, changed));
  if (problem !== undefined) return problem;

  turn.transaction([...[...changed].map((role) => roleRecord(state, role, quotas.get(role))), ...done]);
  for (const role of changed) {
    roleChanged(state, role);
    const { guarantees, limits } = quotas.get(role) ?? {};
    const fields = { role, guarantees: sayAll(guarantees), limits: sayAll(limits), force };
    turn.log('info', 'the quota of a role was changed', fields);
  }
  if (quotas.size === 0) stopCounting(state);
  else rescindForQuotas(turn, quotas, changed);
  return undefined;
}

function roleRecord({ ledger }: State, role: string, quota: Quota | undefined): mesobus.v1.Record.$Properties {
  const weight = ledger.roles.get(role)?.weight ?? 0;
  return { role: { role, weight, ...(quota && { quota: configOf(role, quota) }) } };
}

const sayAll = (amounts: ReadonlyMap<string, number> = new Map()): string =>
  [...amounts].map(([name, amount]) => `${name}:${amount / 1000}`).join(';');
