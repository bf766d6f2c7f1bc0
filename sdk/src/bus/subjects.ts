import { type MessageType, mesobus } from '@mesobus/protos';
import { encodeToken } from './token.ts';

const v1 = mesobus.v1;

/** Any generated message class. */
export type AnyMessage = MessageType<object, never>;

/** What decoding a message class gives: `Decoded<typeof mesobus.v1.LeaderBeat>` is a LeaderBeat. */
export type Decoded<Message extends AnyMessage> = InstanceType<Message>;

/** What encoding takes for a message class: an instance of it, or a plain object with the fields that are set. */
export type Encodable<Message extends AnyMessage> = Parameters<Message['encode']>[0];

/** A subject with the message classes that travel on it. `reply` is absent where nothing answers. */
export interface Channel<Request extends AnyMessage, Reply extends AnyMessage = never> {
  readonly subject: string;
  readonly request: Request;
  readonly reply?: Reply;
}

/** A family of channels that differ in their last token, with the wildcard subject that serves all of them. */
export interface ChannelFamily<Request extends AnyMessage, Reply extends AnyMessage = never> {
  /** The channel of one member; the id may hold any characters. */
  of(id: string): Channel<Request, Reply>;
  /** Serves every member; `Delivery.id` says which one it was. */
  readonly any: Channel<Request, Reply>;
}

function family<Request extends AnyMessage, Reply extends AnyMessage = never>(
  prefix: string,
  request: Request,
  reply?: Reply,
): ChannelFamily<Request, Reply> {
  const channel = (token: string): Channel<Request, Reply> =>
    reply === undefined
      ? { subject: `${prefix}.${token}`, request }
      : { subject: `${prefix}.${token}`, request, reply };
  return { of: (id) => channel(encodeToken(id)), any: channel('*') };
}

/** Every subject of one cluster, and the names of what stands in JetStream. */
export interface Subjects {
  /** scheduler → leader: calls, by principal. */
  readonly masterScheduler: ChannelFamily<typeof mesobus.v1.SchedulerCalls, typeof mesobus.v1.SchedulerReplies>;
  /** leader → scheduler: an ordered stream of events to one instance. */
  schedulerEvents(principal: string, instanceId: string): Channel<typeof mesobus.v1.SchedulerEvents>;
  /** agent → leader: registration, status updates, executor exits; by agent name. */
  readonly masterAgent: ChannelFamily<typeof mesobus.v1.AgentRequest, typeof mesobus.v1.AgentReply>;
  /** leader → agent: commands; by agent name. */
  readonly agent: ChannelFamily<typeof mesobus.v1.AgentCommands, typeof mesobus.v1.AgentCommandsReply>;
  /** agent → leader: alive; by agent name. */
  readonly heartbeat: ChannelFamily<typeof mesobus.v1.Heartbeat>;
  /** any → agent: sandbox files, by principal. */
  agentFiles(agentName: string): ChannelFamily<typeof mesobus.v1.FileRequest, typeof mesobus.v1.FileReply>;
  /** any → agent: a command in a container, by principal. */
  agentExec(agentName: string): ChannelFamily<typeof mesobus.v1.SessionRequest, typeof mesobus.v1.SessionReply>;
  /** any → agent: what a task writes, and its terminal, by principal. */
  agentAttach(agentName: string): ChannelFamily<typeof mesobus.v1.SessionRequest, typeof mesobus.v1.SessionReply>;
  /** any → agent: what its containers use, by principal. */
  agentUsage(agentName: string): ChannelFamily<typeof mesobus.v1.UsageQuery, typeof mesobus.v1.AgentUsage>;
  /** operator → leader: what changes something, by principal. */
  readonly masterOperator: ChannelFamily<typeof mesobus.v1.OperatorCall, typeof mesobus.v1.OperatorReply>;
  /** any → a registry (queue group `registry`): durable reads, by principal. */
  readonly registryQuery: ChannelFamily<typeof mesobus.v1.RegistryQuery, typeof mesobus.v1.RegistryAnswer>;
  /** any → leader: soft state, by principal. */
  readonly masterQuery: ChannelFamily<typeof mesobus.v1.MasterQuery, typeof mesobus.v1.MasterAnswer>;
  /** any → appointed allocator: shares and explanations, by principal. */
  readonly allocatorQuery: ChannelFamily<typeof mesobus.v1.AllocatorQuery, typeof mesobus.v1.AllocatorAnswer>;
  /** leader → all: its beat. */
  readonly leader: Channel<typeof mesobus.v1.LeaderBeat>;
  /** leader → allocator: an ordered stream of the books to one process. */
  allocatorFeed(allocatorId: string, incarnation: string): Channel<typeof mesobus.v1.FeedBatch>;
  /** allocator → leader: hello and allocations, by allocator id. */
  readonly masterAllocator: ChannelFamily<typeof mesobus.v1.AllocatorRequest, typeof mesobus.v1.AllocatorReply>;
  readonly logBucket: string;
  readonly snapshotBucket: string;
  readonly historyStream: string;
}

/** Every subject of one cluster. Nothing else in Mesobus puts a subject together. */
export function subjectsOf(cluster: string): Subjects {
  const name = encodeToken(cluster);
  const root = `mesobus.${name}`;
  const ofAgent = <Request extends AnyMessage, Reply extends AnyMessage>(
    agentName: string,
    what: string,
    request: Request,
    reply: Reply,
  ): ChannelFamily<Request, Reply> => family(`${root}.agent.${encodeToken(agentName)}.${what}`, request, reply);
  return {
    masterScheduler: family(`${root}.master.scheduler`, v1.SchedulerCalls, v1.SchedulerReplies),
    schedulerEvents: (principal, instanceId) => ({
      subject: `${root}.scheduler.${encodeToken(principal)}.${encodeToken(instanceId)}`,
      request: v1.SchedulerEvents,
    }),
    masterAgent: family(`${root}.master.agent`, v1.AgentRequest, v1.AgentReply),
    agent: family(`${root}.agent`, v1.AgentCommands, v1.AgentCommandsReply),
    heartbeat: family(`${root}.heartbeat`, v1.Heartbeat),
    agentFiles: (agentName) => ofAgent(agentName, 'files', v1.FileRequest, v1.FileReply),
    agentExec: (agentName) => ofAgent(agentName, 'exec', v1.SessionRequest, v1.SessionReply),
    agentAttach: (agentName) => ofAgent(agentName, 'attach', v1.SessionRequest, v1.SessionReply),
    agentUsage: (agentName) => ofAgent(agentName, 'usage', v1.UsageQuery, v1.AgentUsage),
    masterOperator: family(`${root}.master.operator`, v1.OperatorCall, v1.OperatorReply),
    registryQuery: family(`${root}.registry.query`, v1.RegistryQuery, v1.RegistryAnswer),
    masterQuery: family(`${root}.master.query`, v1.MasterQuery, v1.MasterAnswer),
    allocatorQuery: family(`${root}.allocator.query`, v1.AllocatorQuery, v1.AllocatorAnswer),
    leader: { subject: `${root}.leader`, request: v1.LeaderBeat },
    allocatorFeed: (allocatorId, incarnation) => ({
      subject: `${root}.allocator.feed.${encodeToken(allocatorId)}.${encodeToken(incarnation)}`,
      request: v1.FeedBatch,
    }),
    masterAllocator: family(`${root}.master.allocator`, v1.AllocatorRequest, v1.AllocatorReply),
    logBucket: `mesobus-${name}-log`,
    snapshotBucket: `mesobus-${name}-snapshot`,
    historyStream: `mesobus-${name}-history`,
  };
}
