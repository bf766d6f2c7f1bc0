import type { mesobus } from '@mesobus/protos';
import { type Bus, type Channel, type Delivery, type EnvelopeBus, subjectsOf } from '@mesobus/sdk/bus';
import { Counters } from '../counters.ts';
import { Dice } from '../engine/dice.ts';
import { Engine } from '../engine/engine.ts';
import { strike } from '../faults.ts';
import { type Invariant, Witness } from '../invariants.ts';
import { hostNames, type Plan } from '../plan.ts';
import type { RestInvariant } from '../rest.ts';
import { AgentHost } from './agent-host.ts';
import { AllocatorHost } from './allocator-host.ts';
import { FrameworkHost } from './framework-host.ts';
import type { Host } from './host.ts';
import { MasterHost } from './master-host.ts';
import { Network } from './network.ts';
import { OperatorHost } from './operator-host.ts';
import { RegistryHost } from './registry-host.ts';
import { SnapshotBucket } from './snapshot-bucket.ts';
import { Stream } from './stream.ts';

export interface Violation {
  readonly invariant: Invariant | RestInvariant;
  readonly what: string;
  readonly atMs: number;
}

/** So many lines of the story are kept. */
const maxLines = 400;

/** A whole cluster on a simulated network, stream and machines, and what a seed lets happen to it. */
export class World {
  readonly plan: Plan;
  readonly engine = new Engine();
  readonly dice: Dice;
  readonly network: Network;
  readonly stream: Stream;
  readonly snapshots: SnapshotBucket;
  readonly subjects = subjectsOf('main');
  readonly witness: Witness;
  readonly counters = new Counters();
  readonly masters: readonly MasterHost[];
  readonly registries: readonly RegistryHost[];
  readonly allocators: readonly AllocatorHost[];
  readonly agents: readonly AgentHost[];
  readonly frameworks: readonly FrameworkHost[];
  readonly operator: OperatorHost;
  readonly hosts: readonly Host[];
  /** Messages that a program was handed, other than beats. */
  inputs = 0;
  violation: Violation | undefined;
  /** What has happened, for people. */
  readonly story: string[] = [];
  readonly #commandsPrefix = this.subjects.agent.any.subject.slice(0, -1);
  /** Ids of the calls that reached a master. */
  readonly #calls = new Set<string>();
  #allocatorId = '';

  constructor(plan: Plan) {
    this.plan = plan;
    this.dice = new Dice(`world ${plan.seed}`);
    this.network = new Network(this.engine, this.dice.fork('network'));
    this.witness = new Witness(this);
    this.stream = new Stream('log', this.engine, this.dice.fork('stream'), (written) =>
      this.witness.onWritten(written),
    );
    this.snapshots = new SnapshotBucket(this.stream);
    this.masters = hostNames.masters(plan).map((name) => new MasterHost(this, name));
    this.registries = hostNames.registries(plan).map((name) => new RegistryHost(this, name));
    this.allocators = hostNames.allocators(plan).map((name) => new AllocatorHost(this, name));
    this.agents = plan.agents.map((agent) => new AgentHost(this, agent.name, agent));
    this.frameworks = plan.frameworks.map((framework) => new FrameworkHost(this, framework));
    const cluster = [...this.masters, ...this.registries, ...this.allocators, ...this.agents];
    this.operator = new OperatorHost(this, 'operator');
    this.hosts = [...cluster, ...this.frameworks, this.operator];
    for (const host of this.hosts) this.engine.after(this.dice.between(0, 2_000), undefined, () => host.start());
    for (const fault of plan.faults) this.engine.after(fault.at, undefined, () => strike(this, fault));
  }

  /** The host of the latest leader by the log, while its program runs. */
  get leader(): MasterHost | undefined {
    const [name] = this.witness.masterId.split('#');
    return this.masters.find((master) => master.name === name && master.running);
  }

  /** Whether less has come in by now than should. */
  get hasTooFewInputs(): boolean {
    const { inputs, calmAt } = this.plan;
    return this.inputs < inputs * Math.min(1, this.engine.now / calmAt);
  }

  /** An invariant does not hold: the run ends with this step. */
  violate(invariant: Violation['invariant'], what: string): void {
    if (this.violation !== undefined) return;
    this.violation = { invariant, what, atMs: this.engine.now };
    this.tell('VIOLATED', invariant, { what });
    this.engine.stop();
  }

  tell(who: string, what: string, fields: object = {}): void {
    if (this.story.length > maxLines * 2) this.story.splice(0, maxLines);
    const details = Object.entries(fields).map(([key, value]) => `${key}=${textOf(value)}`);
    this.story.push(`${(this.engine.now / 1000).toFixed(3).padStart(8)}  ${who}: ${[what, ...details].join(' ')}`);
  }

  /** A bus of which the witness sees what its owner is handed. */
  observe(host: Host, bus: EnvelopeBus): EnvelopeBus {
    const { subjects } = this;
    const agentCommands = host instanceof AgentHost ? subjects.agent.of(host.name).subject : '';
    const isBeat = (subject: string): boolean =>
      subject === subjects.leader.subject || subject === subjects.heartbeat.any.subject;
    const serve = bus.serve.bind(bus) as Bus['serve'];
    bus.serve = ((channel: Channel<never>, handler: (delivery: AnyDelivery) => void, options?: object) => {
      const { subject } = channel;
      if (isBeat(subject)) return serve(channel, handler as never, options);
      const seen = (delivery: AnyDelivery): void => {
        if (!isHello(delivery.message)) this.inputs += 1;
        if (subject === agentCommands) handler(this.#onCommands(host as AgentHost, delivery));
        else {
          this.#onDelivery(subject, delivery);
          handler(host instanceof MasterHost ? this.#watched(host, subject, delivery) : delivery);
        }
      };
      const subscription = serve(channel, seen as never, options);
      if (!(host instanceof MasterHost) || subject !== subjects.masterScheduler.any.subject) return subscription;
      host.serving = true;
      return {
        stop: () => {
          host.serving = false;
          subscription.stop();
        },
      };
    }) as never;
    const request = bus.request.bind(bus) as Bus['request'];
    bus.request = ((channel: Channel<never>, message: never, options: never) => {
      this.#onRequest(host, channel.subject, message);
      const answer = request(channel, message, options);
      if (!(host instanceof AgentHost)) return answer;
      return answer.then(
        (one) => this.#onAgentAnswered(one),
        (error: { code?: string }) => {
          if (error.code === 'agent_gone') this.counters.add('gone agent refused');
          throw error;
        },
      );
    }) as never;
    const followStream = bus.followStream.bind(bus) as Bus['followStream'];
    bus.followStream = ((channel: Channel<never>, handlers: Parameters<Bus['followStream']>[1]) => {
      const onMessage = (message: never, info: never): void => {
        this.inputs += 1;
        handlers.onMessage(message, info);
      };
      return followStream(channel, { ...handlers, onMessage });
    }) as never;
    return bus;
  }

  #onRequest(host: Host, subject: string, message: object): void {
    if (host instanceof MasterHost && subject.startsWith(this.#commandsPrefix)) {
      this.witness.onCommandsSent(host, message);
    } else if (host instanceof AgentHost) this.witness.onAgentRequest(host, message);
  }

  #onAgentAnswered<Reply extends { readonly message: unknown }>(answer: Reply): Reply {
    const { taskUpdatesTaken } = answer.message as mesobus.v1.AgentReply;
    if (taskUpdatesTaken?.gaps.length) this.counters.add('update gap reported to an agent');
    return answer;
  }

  #onCommands(host: AgentHost, delivery: AnyDelivery): AnyDelivery {
    const { message, epoch } = delivery;
    this.witness.onCommands(host, delivery as never);
    return watching(delivery, {
      reply: (answer) => {
        this.witness.onObeyed(host, epoch);
        const { cursor } = answer as mesobus.v1.AgentCommandsReply;
        this.witness.onCursor(host, (message as mesobus.v1.AgentCommands).agentId, cursor);
      },
      refuse: (error) => {
        const { code } = error as { code?: string };
        if (code === 'superseded_master') this.counters.add("deposed leader's command refused by an agent");
        if (code === 'overloaded') this.counters.add('commands refused by an agent whose disk is full');
      },
    });
  }

  /** The calls of schedulers, with what is answered to them. */
  #watched(host: MasterHost, subject: string, delivery: AnyDelivery): AnyDelivery {
    if (subject !== this.subjects.masterScheduler.any.subject) return delivery;
    const calls = delivery.message as mesobus.v1.SchedulerCalls;
    const known = host.leadership?.lastIndex ?? 0;
    return watching(delivery, {
      reply: (answer) => this.witness.onCallsAnswered(host, calls, known, answer as object),
    });
  }

  #onDelivery(subject: string, { message, id }: AnyDelivery): void {
    const { masterAgent, masterAllocator, masterScheduler } = this.subjects;
    if (subject === masterAgent.any.subject) {
      const request = message as mesobus.v1.AgentRequest;
      if (request.taskUpdates) this.witness.onUpdatesSent(request.taskUpdates, request.agentId);
    } else if (subject === masterScheduler.any.subject) {
      for (const { callId } of (message as mesobus.v1.SchedulerCalls).calls) {
        if (this.#calls.has(callId)) this.counters.add('call repeated');
        if (this.witness.ledger.calls.has(callId)) this.counters.add('repeated ACCEPT answered from the record');
        this.#calls.add(callId);
      }
    } else if (subject === masterAllocator.any.subject) {
      const { allocations } = message as mesobus.v1.AllocatorRequest;
      if (!allocations || id === this.#allocatorId) return;
      if (this.#allocatorId !== '') this.counters.add('allocator replaced');
      this.#allocatorId = id;
    }
  }
}

/** What an allocator says many times a second, whether anything happens or not. */
const isHello = (message: unknown): boolean => (message as Partial<mesobus.v1.AllocatorRequest>).hello != null;

type AnyDelivery = Delivery<unknown, unknown>;

/** A delivery of which somebody hears first what is answered. */
function watching(delivery: AnyDelivery, first: Partial<Pick<AnyDelivery, 'reply' | 'refuse'>>): AnyDelivery {
  return new Proxy(delivery, {
    get: (target, key) => {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      const hear = key === 'reply' || key === 'refuse' ? first[key] : undefined;
      return (given: never) => {
        hear?.(given);
        return value.call(target, given);
      };
    },
  });
}

function textOf(value: unknown): string {
  if (value instanceof Error) return value.message;
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
