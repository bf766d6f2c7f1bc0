import type { mesobus, mesos } from '@mesobus/protos';
import type { Acls } from '@mesobus/sdk/authorization';
import type { RefusalCode } from '@mesobus/sdk/errors';

type V1 = typeof mesobus.v1;
export type RecordProperties = InstanceType<V1['Record']>;
export type SchedulerEvent = mesobus.v1.SchedulerEvent.$Properties;
export type ResourceProperties = mesos.v1.Resource.$Properties;

/** Stands for a delivery that waits for its answer. The core hands it back and never looks inside. */
export type Token = unknown;

/** What reaches the master. */
export type Input =
  | {
      readonly kind: 'scheduler_call';
      readonly principal: string;
      readonly call: mesobus.v1.SchedulerCall;
      readonly token: Token;
    }
  | {
      readonly kind: 'agent_request';
      readonly agentName: string;
      readonly request: mesobus.v1.AgentRequest;
      readonly token: Token;
    }
  | { readonly kind: 'heartbeat'; readonly agentName: string; readonly heartbeat: mesobus.v1.Heartbeat }
  /** An agent has answered commands: everything up to the cursor is on its disk. */
  | {
      readonly kind: 'commands_answered';
      readonly agentId: string;
      readonly incarnation: string;
      readonly cursor: number;
    }
  | {
      readonly kind: 'allocator_request';
      readonly allocatorId: string;
      readonly request: mesobus.v1.AllocatorRequest;
      readonly token: Token;
    }
  /** A batch of its feed could not be sent. */
  | { readonly kind: 'feed_failed'; readonly allocatorId: string }
  | {
      readonly kind: 'operator_call';
      readonly principal: string;
      readonly call: mesobus.v1.OperatorCall;
      readonly token: Token;
    }
  /** Whether somebody follows a scheduler's stream of events. */
  | {
      readonly kind: 'stream_probed';
      readonly frameworkId: string;
      readonly instanceId: string;
      readonly alive: boolean;
    }
  /** The master's own connection: silence of others counts only while it stands. */
  | { readonly kind: 'bus_connection'; readonly connected: boolean }
  /** Hostnames of the agents whose resources are offered; undefined: all of them. */
  | { readonly kind: 'whitelist'; readonly hostnames: ReadonlySet<string> | undefined }
  /** Who may do what, from now on; undefined: everybody everything. */
  | { readonly kind: 'acls'; readonly acls: Acls | undefined }
  /** The log has confirmed nothing for long, or another is to lead: what was offered may not be accepted in time. */
  | { readonly kind: 'frozen' }
  /** Time has passed; while the log stands, answers wait in this master, and calls behind them on their way to it. */
  | { readonly kind: 'tick'; readonly logStands: boolean }
  | Committed;

/** What was known of a task when its framework asked. */
export interface TaskAnswer {
  readonly status: mesos.v1.TaskStatus;
  /** Absent: the task was not known. */
  readonly state: mesos.v1.TaskState | undefined;
}

/** What the core has asked to be told once it is committed, or has passed a barrier. */
export type Committed =
  | { readonly kind: 'commands_committed'; readonly agentId: string; readonly upTo: number }
  | { readonly kind: 'agent_committed'; readonly agentId: string; readonly incarnation: string }
  | { readonly kind: 'framework_committed'; readonly frameworkId: string; readonly generation: number }
  | {
      readonly kind: 'answers_confirmed';
      readonly frameworkId: string;
      readonly answers: readonly TaskAnswer[];
      readonly traceparent: string;
    };

/**
 * When an effect may leave:
 * - `now`: its loss or its being wrong after a crash harms nobody;
 * - `committed`: once every record emitted before it is committed;
 * - `barrier`: once an append that began after the input arrived is committed, so that no deposed master says it.
 */
export type When = 'now' | 'committed' | 'barrier';

/** Where the events of one scheduler go. */
export interface Stream {
  readonly principal: string;
  readonly instanceId: string;
  readonly frameworkId: string;
  readonly generation: number;
}

export interface SpanFact {
  readonly name: string;
  /** Its own ids, as a traceparent; minted by the shell if absent. */
  readonly identity?: string;
  /** A traceparent. */
  readonly parent?: string;
  /** A traceparent of what has to do with it and is no parent, from another trace perhaps. */
  readonly link?: string;
  readonly startMs: number;
  /** Absent: the moment the effect leaves. */
  readonly endMs?: number;
  readonly attributes?: Readonly<Record<string, string | number | boolean>>;
}

/** What the master wants done, in this order. */
export type Effect =
  /** One transaction. Riding records wait for the next urgent one, or for 100 ms. */
  | { readonly kind: 'commit'; readonly records: readonly RecordProperties[]; readonly urgent: boolean }
  | {
      readonly kind: 'accept_call';
      readonly when: When;
      readonly token: Token;
      readonly callId: string;
      readonly frameworkId?: string;
      readonly generation?: number;
      /** Whether the call changed something durable: then the answer says the index. */
      readonly durable: boolean;
    }
  | {
      readonly kind: 'refuse_call';
      readonly when: When;
      readonly token: Token;
      readonly callId: string;
      readonly code: RefusalCode;
      readonly subject: string;
      readonly why?: string;
    }
  | {
      readonly kind: 'answer_agent';
      readonly when: When;
      readonly token: Token;
      readonly reply: mesobus.v1.AgentReply.$Properties;
    }
  | {
      readonly kind: 'refuse';
      readonly when: When;
      readonly token: Token;
      readonly code: RefusalCode;
      readonly subject: string;
      readonly why?: string;
    }
  | {
      readonly kind: 'accept_operator';
      readonly when: When;
      readonly token: Token;
    }
  | {
      readonly kind: 'answer_allocator';
      readonly when: When;
      readonly token: Token;
      readonly reply: mesobus.v1.AllocatorReply.$Properties;
    }
  | { readonly kind: 'events'; readonly when: When; readonly to: Stream; readonly events: readonly SchedulerEvent[] }
  /** A fresh stream; one that is open starts again. */
  | { readonly kind: 'open_stream'; readonly when: When; readonly to: Stream }
  | { readonly kind: 'close_stream'; readonly when: When; readonly to: Stream }
  | {
      readonly kind: 'commands';
      readonly when: When;
      readonly agentName: string;
      readonly message: mesobus.v1.AgentCommands.$Properties;
    }
  /** A fresh stream to an allocator; `takeFeed` has its first batch. */
  | { readonly kind: 'open_feed'; readonly when: 'now'; readonly allocatorId: string; readonly incarnation: string }
  | { readonly kind: 'close_feed'; readonly when: 'now'; readonly allocatorId: string }
  /** This leadership must end; another master may do better. */
  | { readonly kind: 'give_up'; readonly when: 'now'; readonly why: string }
  | { readonly kind: 'committed'; readonly when: 'committed' | 'barrier'; readonly input: Committed }
  | { readonly kind: 'span'; readonly when: When; readonly span: SpanFact }
  | {
      readonly kind: 'log';
      readonly when: 'now';
      readonly level: 'debug' | 'info' | 'warn';
      readonly message: string;
      readonly fields: Readonly<Record<string, string | number | boolean>>;
    };
