import type { mesobus } from '@mesobus/protos';
import type { SentRequest } from './state.ts';
import type { Turn } from './turn.ts';

type Body = Omit<mesobus.v1.AgentRequest.$Properties, 'agentId' | 'incarnation'>;

/** Sends a request to whoever leads; the answer comes back as 'reply' or 'request_failed' with this number. */
export function sendRequest({ state, effects }: Turn, sent: SentRequest, body: Body): number {
  state.requestCount += 1;
  const requestId = state.requestCount;
  state.requests.set(requestId, sent);
  const agentId = state.identity?.agentId ?? '';
  effects.push({ kind: 'send', requestId, request: { agentId, incarnation: state.config.incarnation, ...body } });
  return requestId;
}
