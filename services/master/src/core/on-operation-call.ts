import { mesobus, mesos } from '@mesobus/protos';
import { contains, convert, exchange, noResources, type Resources, sum, tryUse } from '@mesobus/sdk/resources';
import { agentLinkOf, freeOf } from './agents.ts';
import { notAllowed, wantedByConversion } from './authorization.ts';
import { announceCommands } from './commands.ts';
import { agentChanged } from './feed.ts';
import { rescindOffers } from './offers.ts';
import type { CallRefused } from './on-agent-call.ts';
import { type Asker, canConvert, operationRecords, readConversion, sizeProblem } from './operations.ts';
import { rescindAboveLimits } from './rescind-for-quotas.ts';
import type { Offer } from './state.ts';
import type { Turn } from './turn.ts';

const { ADMITTED } = mesobus.v1.AgentRecord.Lifecycle;
const { Type } = mesos.v1.Offer.Operation;

type Call = mesos.v1.master.Call;
type Operation = mesos.v1.Offer.Operation.$Properties;
type Records = readonly mesobus.v1.Record.$Properties[];

/** An operator's call as the operation that a framework would send; undefined if it is no such call. */
function operationOf(call: Call): { readonly agentId: string; readonly operation: Operation } | undefined {
  const { reserveResources, unreserveResources, createVolumes, destroyVolumes, growVolume, shrinkVolume } = call;
  const on = (agentId: mesos.v1.AgentID | null, operation: Operation) => ({ agentId: agentId?.value ?? '', operation });
  if (reserveResources) {
    const { agentId, resources, source } = reserveResources;
    return on(agentId, { type: Type.RESERVE, reserve: { resources, source } });
  }
  if (unreserveResources) {
    const { agentId, resources } = unreserveResources;
    return on(agentId, { type: Type.UNRESERVE, unreserve: { resources } });
  }
  if (createVolumes) {
    const { agentId, volumes } = createVolumes;
    return on(agentId, { type: Type.CREATE, create: { volumes } });
  }
  if (destroyVolumes) {
    const { agentId, volumes } = destroyVolumes;
    return on(agentId, { type: Type.DESTROY, destroy: { volumes } });
  }
  if (growVolume) {
    const { agentId, volume, addition } = growVolume;
    return on(agentId, { type: Type.GROW_VOLUME, growVolume: { volume, addition } });
  }
  if (!shrinkVolume) return undefined;
  const { agentId, volume, subtract } = shrinkVolume;
  return on(agentId, { type: Type.SHRINK_VOLUME, shrinkVolume: { volume, subtract } });
}

export const isOperationCall = (call: Call): boolean => operationOf(call) !== undefined;

/**
 * An operator changes what the resources of an agent are. It holds at once; offers in the way are taken back.
 *
 * @param done - records that say that the call is carried out, for the same transaction
 * @returns why it is refused; undefined if it is carried out
 */
export function onOperationCall(turn: Turn, call: Call, asker: Asker, done: Records): CallRefused | undefined {
  const subject = mesos.v1.master.Call.Type[call.type] ?? 'UNKNOWN';
  const invalid = (why: string): CallRefused => ({ code: 'call_invalid', subject, why });
  const { agentId = '', operation } = operationOf(call) ?? {};
  const agent = turn.state.ledger.agents.get(agentId);
  if (operation === undefined) return invalid('a part is missing');
  if (agent === undefined)
    return { code: 'agent_unknown', subject: agentId, why: 'no agent has this id, or not any more' };
  if (agent.record.lifecycle !== ADMITTED) return invalid(`agent '${agentId}' is out of reach; wait until it is back`);
  if (!canConvert(agent)) return invalid(`agent '${agentId}' is of a version without operations; upgrade it`);

  const conversion = readConversion(operation);
  if (typeof conversion === 'string') return invalid(conversion);
  const denied = notAllowed(turn.state, asker.principal, wantedByConversion(conversion, agent.total));
  if (denied !== undefined) return { code: 'not_authorized', subject, why: denied };
  const free = freeOf(turn.state, agent);
  const used = sum([...agent.holdings.values()].map(({ resources }) => resources));
  const { total } = agent;
  const possible = convert(conversion, { total, principal: asker.principal });
  if (!possible.ok) return invalid(`${possible.error.problem}; ${possible.error.remedy}`);
  const made = convert(conversion, { total, available: free, used, principal: asker.principal });
  if (!made.ok) return { code: 'resources_in_use', subject: agentId, why: made.error.problem };

  const { consumed, converted } = made;
  const after = exchange(total, consumed, converted) ?? noResources;
  const tooMuch = sizeProblem(agent, total, after);
  if (tooMuch !== undefined) return invalid(tooMuch);
  const link = agentLinkOf(turn.state, agent);
  rescindOffers(turn, offersInTheWay([...link.offers], free, consumed), 'rescinded');
  const number = agent.lastCommand + 1;
  turn.transaction([
    ...done,
    ...operationRecords(turn, agent, operation, { number, consumed, converted, total: after }, asker),
  ]);
  announceCommands(turn, agent, link);
  agentChanged(turn.state, agentId);
  rescindAboveLimits(turn, agent);
  turn.log('info', 'an operator changes the resources of an agent', { agent: agentId, call: subject });
  return undefined;
}

/** As few offers as have to be taken back so that resources are free; of a shared volume all, since it changes for all. */
function offersInTheWay(offers: readonly Offer[], free: Resources, consumed: Resources): Offer[] {
  const keys = new Set(consumed.map(({ key }) => key));
  const sharedKeys = new Set(consumed.filter(({ shared }) => shared).map(({ key }) => key));
  let chosen = offers.filter(({ resources }) => resources.some(({ key }) => keys.has(key)));
  for (const offer of chosen) {
    if (offer.resources.some(({ key }) => sharedKeys.has(key))) continue;
    const fewer = chosen.filter((one) => one !== offer);
    const others = offers.filter((one) => !fewer.includes(one));
    const left = tryUse(free, sum(others.map(({ resources }) => resources)));
    if (left !== undefined && contains(left, consumed)) chosen = fewer;
  }
  return chosen;
}
