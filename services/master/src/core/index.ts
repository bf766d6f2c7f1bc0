/*
 * The core of the master, table of contents.
 *
 *   on-scheduler-call   who may call, and which call goes where:
 *     on-subscribe, on-accept (and decline; accepting: its launches and operations), on-kill (and shutdown, message), on-acknowledge, on-reconcile,
 *     on-roles (revive, suppress, update), remove-framework (teardown)
 *   authorization       who may do what: the one place that decides
 *   on-agent-request    who is registered, and: on-register, on-task-updates; end-agent
 *   on-revocable-estimate   what tasks leave idle, and is lent once more
 *   operations          reservations and volumes: what the log says of them; on-operation-updates: what came of them
 *   on-heartbeat, agent-presence   whether an agent is there; hearing: whether this master can tell; unreachable-queue,
 *     mark-unreachable: what becomes of one that is not; collect-agents: when it is forgotten
 *   commands            what an agent is sent, until its cursor says that it has it
 *   on-allocator        allocations become offers; allocators: who may allocate; feed, live-filters: the books go out
 *   on-operator-call    teardown, kill; on-pause: pause and resume, also of schedulers; on-weights-call; on-agent-call: drain, deactivate, reactivate, gone
 *     on-quota-call: quota, quota-problem; consumption: what counts for them; rescind-for-quotas
 *     on-operation-call: reservations and volumes by operators
 *     on-maintenance-call: machines; inverse-offers
 *   on-reclaim          an allocator wants tasks back; reclaims: asked, then killed; reclaim-rules, reclaimable: which
 *   traces              the spans of offers, launches, kills and acknowledgements; tally: what metrics count
 *   on-liveness         whether a scheduler is there; on-tick: every deadline
 */
import { dropFeed } from './allocators.ts';
import { onCommandsAnswered, onCommandsCommitted } from './commands.ts';
import { noteHearing } from './hearing.ts';
import type { Effect, Input } from './messages.ts';
import { rescindOffers } from './offers.ts';
import { onAgentRequest } from './on-agent-request.ts';
import { onAllocatorRequest } from './on-allocator.ts';
import { onHeartbeat } from './on-heartbeat.ts';
import { onStreamProbed } from './on-liveness.ts';
import { onOperatorCall } from './on-operator-call.ts';
import { onAnswersConfirmed } from './on-reconcile.ts';
import { onAgentCommitted } from './on-register.ts';
import { onSchedulerCall } from './on-scheduler-call.ts';
import { onFrameworkCommitted } from './on-subscribe.ts';
import { onTick } from './on-tick.ts';
import { onWhitelist } from './on-whitelist.ts';
import type { State } from './state.ts';
import { countMessage } from './tally.ts';
import { Turn } from './turn.ts';

export { availableOf } from './agents.ts';
export { heldSeconds } from './conduct.ts';
export { answerQuery } from './connections.ts';
export { createState } from './create-state.ts';
export { takeFeed, waitingFeeds } from './feed.ts';
export type * from './messages.ts';
export { type Config, defaultConfig, type Offer, type State } from './state.ts';

/**
 * Applies one input. The same state, time and input always give the same effects.
 *
 * @param at - ms since 1970, from a clock that never goes back
 */
export function step(state: State, at: number, input: Input): Effect[] {
  noteHearing(state, at, input);
  countMessage(state, input);
  state.nowMs = at;
  if (input.kind === 'scheduler_call') return onSchedulerCall(state, at, input);
  if (input.kind === 'agent_request') return onAgentRequest(state, at, input);
  const turn = new Turn(state, at);
  switch (input.kind) {
    case 'heartbeat':
      onHeartbeat(turn, input.agentName, input.heartbeat);
      break;
    case 'commands_answered':
      onCommandsAnswered(turn, input.agentId, input.incarnation, input.cursor);
      break;
    case 'commands_committed':
      onCommandsCommitted(turn, input.agentId, input.upTo);
      break;
    case 'agent_committed':
      onAgentCommitted(turn, input.agentId, input.incarnation);
      break;
    case 'framework_committed':
      onFrameworkCommitted(turn, input.frameworkId, input.generation);
      break;
    case 'answers_confirmed':
      onAnswersConfirmed(turn, input.frameworkId, input.answers, input.traceparent);
      break;
    case 'allocator_request':
      onAllocatorRequest(turn, input.allocatorId, input.request, input.token);
      break;
    case 'feed_failed':
      dropFeed(turn, input.allocatorId);
      break;
    case 'operator_call':
      onOperatorCall(turn, input);
      break;
    case 'stream_probed':
      onStreamProbed(turn, input.frameworkId, input.instanceId, input.alive);
      break;
    case 'bus_connection':
      state.busConnected = input.connected;
      state.silenceFloorMs = at;
      break;
    case 'whitelist':
      onWhitelist(turn, input.hostnames);
      break;
    case 'acls':
      state.acls = input.acls;
      break;
    case 'frozen':
      rescindOffers(turn, state.offers.values(), 'rescinded');
      break;
    case 'tick':
      onTick(turn, input.logStands);
  }
  return turn.effects;
}
