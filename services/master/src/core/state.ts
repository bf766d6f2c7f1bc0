import { defaultRegexBounds, type RegexBounds } from '@mesobus/allocator/constraints';
import type { mesobus, mesos } from '@mesobus/protos';
import type { Ledger, TaskEntry } from '@mesobus/registry/core';
import type { Acls } from '@mesobus/sdk/authorization';
import type { Resources } from '@mesobus/sdk/resources';
import type { Allocators } from './allocators.ts';
import type { Conduct } from './conduct.ts';
import type { Consumption } from './consumption.ts';
import type { InverseOffers } from './inverse-offers.ts';
import type { LiveFilters } from './live-filters.ts';
import type { Machines } from './machines.ts';
import type { Stream } from './messages.ts';
import type { Reclaims } from './reclaims.ts';
import type { Tally } from './tally.ts';
import type { Timers } from './timers.ts';

export interface Config {
  /** Unique per start of a master's process. */
  readonly masterId: string;
  readonly masterInfo: mesos.v1.MasterInfo.$Properties;
  /**
   * An offer that is not answered for so long is rescinded; 0: never. Undefined: never for frameworks that came with Mesos'
   * API, and after at most 5 s, by their own decision time, for others.
   */
  readonly offerTimeoutMs: number | undefined;
  /** Tasks that have ended and are acknowledged, per framework; the oldest above it leave the ledger. */
  readonly maxCompletedTasksPerFramework: number;
  /** Removed frameworks that are remembered with their tasks; the oldest above it leave the ledger. */
  readonly maxCompletedFrameworks: number;
  /** Tasks that have ended and are not acknowledged, per framework; the oldest above it leave the ledger unheard. */
  readonly maxUnacknowledgedTasksPerFramework: number;
  /** An agent is unreachable after so many heartbeats have not come, and disconnected after half of them. */
  readonly agentPingTimeoutMs: number;
  readonly maxAgentPingTimeouts: number;
  /** An agent that has not registered with a new leader for so long is unreachable. */
  readonly agentReregisterTimeoutMs: number;
  /** The pause between two agents that become unreachable; 0: none. */
  readonly agentRemovalIntervalMs: number;
  /** A leader that misses more than this fraction of the agents that it took over ends instead of marking them. */
  readonly recoveryAgentRemovalLimit: number;
  /** Unreachable and gone agents leave the ledger after so long, and the oldest of more than so many. */
  readonly registryGcIntervalMs: number;
  readonly registryMaxAgentAgeMs: number;
  readonly registryMaxAgentCount: number;
  /** Running tasks are asked back for a guarantee or fair share that is not met for so long; 0: never. */
  readonly reclaimAfterMs: number;
  /** What is asked back has so long to end by itself before it is killed. */
  readonly reclaimNoticeMs: number;
  /** Spans are recorded by somebody. */
  readonly tracing: boolean;
  /** The part of the offers whose traces are kept even if they are declined, from 0 to 1. */
  readonly traceSample: number;
  /** How large a regex in the offer constraints of a framework may be. */
  readonly constraintBounds: RegexBounds;
}

export const defaultConfig: Omit<Config, 'masterId' | 'masterInfo'> = {
  offerTimeoutMs: undefined,
  maxCompletedTasksPerFramework: 1_000,
  maxCompletedFrameworks: 50,
  maxUnacknowledgedTasksPerFramework: 100_000,
  agentPingTimeoutMs: 5_000,
  maxAgentPingTimeouts: 6,
  agentReregisterTimeoutMs: 600_000,
  agentRemovalIntervalMs: 0,
  recoveryAgentRemovalLimit: 1,
  registryGcIntervalMs: 900_000,
  registryMaxAgentAgeMs: 14 * 24 * 3_600_000,
  registryMaxAgentCount: 102_400,
  reclaimAfterMs: 0,
  reclaimNoticeMs: 30_000,
  tracing: true,
  traceSample: 0.01,
  constraintBounds: defaultRegexBounds,
};

/** Resources of one agent, held for one framework in one role until it answers. */
export interface Offer {
  readonly id: string;
  readonly number: number;
  readonly agentId: string;
  readonly frameworkId: string;
  readonly role: string;
  /** In nobody's name. */
  readonly resources: Resources;
  readonly offeredAtMs: number;
  /** Ids of its span, as the scheduler gets them: see traces.ts. */
  readonly trace: string;
  readonly roundBeganAtMs: number;
  readonly decidedAtMs: number;
  readonly roleShare: number;
  readonly frameworkShare: number;
}

/** What this leader knows of a scheduler beyond the ledger. */
export interface FrameworkLink {
  readonly frameworkId: string;
  readonly stream: Stream;
  /** Its SUBSCRIBE to this leader is committed. Until then it gets no events. */
  subscribed: boolean;
  /** Subscribed, and somebody follows its stream. Until then it gets no offers. */
  connected: boolean;
  /** While it is not connected: how long, as far as this master could hear. */
  awayMs: number;
  lastHeartbeatMs: number;
  /** It came with Mesos' API. */
  mesosCompatible: boolean;
  /** What it wants, in the roles of which it has said so; and the number of that word. */
  demands: readonly mesobus.v1.RoleDemand[];
  demandNumber: number;
  conduct: Conduct;
  readonly offers: Set<Offer>;
  /** Updates forwarded and not acknowledged, in the order of their numbers, by task id. */
  readonly pending: Map<string, PendingUpdate[]>;
  /** Tasks that have ended and whose terminal update is not acknowledged, oldest first. */
  readonly ended: Set<TaskEntry>;
}

export interface PendingUpdate {
  readonly number: number;
  readonly commandNumber: number;
  readonly agentId: string;
  readonly status: mesos.v1.TaskStatus;
  readonly traceparent: string;
}

/** What this leader knows of an agent beyond the ledger. */
export interface AgentLink {
  readonly agentId: string;
  readonly agentName: string;
  /** Of the process that registered with this leader; empty until one has. */
  incarnation: string;
  /** Its registration is committed. */
  registered: boolean;
  /** Registered with this leader, committed, and heard of lately. */
  connected: boolean;
  lastHeardMs: number;
  silenceTimerSet: boolean;
  lastAddressedMs: number;
  /** What the agent has said; the ledger hears of it in larger steps. */
  cursor: number;
  cursorRecordedMs: number;
  cursorTimerSet: boolean;
  /** The highest cursor with which it has said to this leader what its resources are. */
  resourcesCursor: number;
  /** What it estimates to be allocated and idle, and the number of that word of its process. */
  revocable: Resources;
  estimateNumber: number;
  /** The last command when this leadership began. */
  readonly commandsBefore: number;
  /** The highest command that is committed. */
  released: number;
  /** The highest command that was sent to this incarnation. */
  sent: number;
  /** The pause before commands above the cursor are sent again; 0: nothing is awaited. */
  resendAfterMs: number;
  resendAtMs: number;
  readonly offers: Set<Offer>;
}

/** The command that ends a task: until it is committed, nobody may see its effect. */
export interface EndDecided {
  readonly commandNumber: number;
  /** That the kill allows, in ns. */
  readonly graceNs: bigint;
}

export type Deadline =
  | { readonly kind: 'offer'; readonly offerId: string }
  | { readonly kind: 'silence'; readonly agentId: string }
  | { readonly kind: 'reregister' }
  | { readonly kind: 'unreachable' }
  | { readonly kind: 'registry_gc' }
  | { readonly kind: 'resend'; readonly agentId: string }
  | { readonly kind: 'cursor'; readonly agentId: string }
  | { readonly kind: 'scan' };

/** Agents that are to be marked unreachable, one after the other. */
export interface UnreachableQueue {
  /** In the order in which they were found silent; with why. */
  readonly waiting: Map<string, string>;
  timerSet: boolean;
  /** The rate limit allows none before. */
  notBeforeMs: number;
  scheduled: number;
  completed: number;
  /** They were heard while they waited. */
  canceled: number;
}

export interface State {
  readonly config: Config;
  /** All records emitted so far, committed or not. */
  readonly ledger: Ledger;
  readonly tally: Tally;
  readonly tracePrefix: string;
  /** Traces of which this leader has written the first spans again: see traces.ts. */
  readonly rewrittenTraces: Set<string>;
  readonly frameworks: Map<string, FrameworkLink>;
  readonly agents: Map<string, AgentLink>;
  readonly offers: Map<string, Offer>;
  /** Of the last offer made. */
  offerNumber: number;
  /** Ids of removed frameworks that the ledger still has, oldest first. */
  readonly completedFrameworks: Set<string>;
  /** Framework ids by principal and instance id, and by principal and the call that subscribed it. */
  readonly subscribers: Map<string, string>;
  readonly timers: Timers<Deadline>;
  readonly allocators: Allocators;
  /** Tasks that this leader decided to end. */
  readonly ends: WeakMap<TaskEntry, EndDecided>;
  readonly startedAtMs: number;
  /** When the frameworks were looked after last. */
  supervisedAtMs: number;
  /** Admitted agents that were taken over and have not registered with this leader yet. */
  readonly recovered: Set<string>;
  /** How many there were at first. */
  readonly recoveredAtFirst: number;
  /** Agents with a drain that is not over. */
  readonly draining: Set<string>;
  /** Ids of gone agents by registration key: whoever comes with one is refused. */
  readonly goneKeys: Map<string, string>;
  readonly unreachable: UnreachableQueue;
  /** When anybody was heard last: a master that hears nobody does not count the silence of others. */
  heardMs: number;
  busConnected: boolean;
  /** Silence is counted from here at the earliest. */
  silenceFloorMs: number;
  /** When the last input came: what is left of a filter is counted from here. */
  nowMs: number;
  /** Offers that frameworks do not want, for allocators that have yet to hear of them. */
  readonly filters: LiveFilters;
  /** What counts for the quotas of roles. */
  readonly consumption: Consumption;
  readonly machines: Machines;
  readonly inverseOffers: InverseOffers;
  /** Running tasks that are asked back. */
  readonly reclaims: Reclaims;
  /** Hostnames of the agents whose resources are offered; undefined: all of them. */
  whitelist: ReadonlySet<string> | undefined;
  /** Who may do what; undefined: everybody everything. */
  acls: Acls | undefined;
}

export type Call = mesobus.v1.SchedulerCall;

export const subscriberKey = (principal: string, what: 'instance' | 'call', id: string): string =>
  `${principal}\0${what}\0${id}`;
