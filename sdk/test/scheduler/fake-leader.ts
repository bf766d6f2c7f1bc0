import { type mesobus, mesos } from '@mesobus/protos';
import {
  type Bus,
  type Delivery,
  type ManualClock,
  type MemoryNetwork,
  type StreamSender,
  subjectsOf,
} from '@mesobus/sdk/bus';
import { RefusedError } from '@mesobus/sdk/errors';
import type { Scheduler } from '@mesobus/sdk/scheduler';
import type { ExecutionContext } from 'ava';

type Reply = mesobus.v1.SchedulerReplies.$Properties;
type Calls = Delivery<mesobus.v1.SchedulerCalls, Reply>;
type Answer = RefusedError | 'silence' | { logIndex?: number };
type WireEvent = mesos.v1.scheduler.Event.$Properties;

const { Call, Event } = mesos.v1.scheduler;

/** The master's side of a scheduler's conversation, as much of it as a test needs. */
export class FakeLeader {
  readonly bus: Bus;
  readonly subjects = subjectsOf('main');
  /** Every call that came, repeats included. */
  readonly calls: mesobus.v1.SchedulerCall[] = [];
  /** How many calls came together. */
  readonly batches: number[] = [];
  /** Decides what becomes of calls other than SUBSCRIBE. */
  answer: (call: mesobus.v1.SchedulerCall) => Answer = () => ({ logIndex: 7 });
  /** Decides what becomes of SUBSCRIBE. */
  onSubscribe: (call: mesobus.v1.SchedulerCall) => 'accept' | 'silence' | RefusedError = () => 'accept';
  frameworkId = 'F-1';
  generation = 0;
  #stream: StreamSender<mesobus.v1.SchedulerEvents.$Properties> | undefined;
  #instanceId = '';
  readonly #serving: { stop(): void };

  constructor(network: Pick<MemoryNetwork, 'connect'>, epoch = 1, generation = 0) {
    this.bus = network.connect('leader');
    this.bus.setEpoch({ incarnation: 1, epoch });
    this.generation = generation;
    this.#serving = this.bus.serve(this.subjects.masterScheduler.any, (delivery) => this.#onCalls(delivery));
  }

  callsOf(type: keyof typeof Call.Type): mesobus.v1.SchedulerCall[] {
    return this.calls.filter(({ call }) => call?.type === Call.Type[type]);
  }

  beat(frameworks = 1): void {
    sayBeat(this.bus, 1, frameworks);
  }

  send(...events: readonly (WireEvent & { traceparent?: string; offerTraces?: Record<string, string> })[]): void {
    this.sendAs(this.generation, ...events);
  }

  sendAs(
    generation: number,
    ...events: readonly (WireEvent & { traceparent?: string; offerTraces?: Record<string, string> })[]
  ): void {
    this.#stream?.send({
      frameworkId: this.frameworkId,
      instanceId: this.#instanceId,
      generation,
      events: events.map(({ traceparent, offerTraces, ...event }) => ({ event, traceparent, offerTraces })),
    });
  }

  /** What waited in its stream was too much for it. */
  restartStream(): void {
    this.#stream?.restart();
  }

  /** Dies: nobody serves its subjects any more, its streams fall silent. */
  stop(): void {
    this.#serving.stop();
    this.#stream?.close();
  }

  #onCalls(delivery: Calls): void {
    const { calls } = delivery.message;
    this.calls.push(...calls);
    this.batches.push(calls.length);
    const replies: mesobus.v1.SchedulerReply.$Properties[] = [];
    for (const call of calls) {
      const answer = call.call?.type === Call.Type.SUBSCRIBE ? this.#subscribe(call) : this.answer(call);
      if (answer === 'silence') return;
      replies.push(replyTo(call.callId, answer));
    }
    delivery.reply({ replies });
  }

  #subscribe(call: mesobus.v1.SchedulerCall): Answer | mesobus.v1.SchedulerAccepted.$Properties {
    const decision = this.onSubscribe(call);
    if (decision !== 'accept') return decision;
    this.generation += 1;
    this.#instanceId = call.instanceId;
    this.#stream?.close();
    this.#stream = this.bus.openStream(this.subjects.schedulerEvents('default', call.instanceId));
    this.send({ type: Event.Type.SUBSCRIBED, subscribed: { frameworkId: { value: this.frameworkId }, masterInfo } });
    return { frameworkId: this.frameworkId, generation: this.generation, logIndex: 1 };
  }
}

/** @param phase - 0: loading, 1: leading */
export function sayBeat(bus: Bus, phase: 0 | 1, frameworks = 1): void {
  bus.publish(subjectsOf('main').leader, { masterId: 'm', phase, lastLogIndex: 1, frameworks });
}

const masterInfo = { id: 'm', ip: 0, port: 5050, hostname: 'host-m' };

function replyTo(callId: string, answer: RefusedError | object): mesobus.v1.SchedulerReply.$Properties {
  if (!(answer instanceof RefusedError)) return { callId, accepted: answer };
  return { callId, refusal: { code: answer.code, subject: answer.subject, message: answer.message } };
}

export function offers(...ids: readonly string[]): WireEvent {
  return {
    type: Event.Type.OFFERS,
    offers: {
      offers: ids.map((id) => ({
        id: { value: id },
        frameworkId: { value: 'F-1' },
        agentId: { value: `agent-of-${id}` },
        hostname: 'host-1',
        allocationInfo: { role: 'ads' },
        resources: [
          { name: 'cpus', type: 0, scalar: { value: 4 }, allocationInfo: { role: 'ads' } },
          { name: 'mem', type: 0, scalar: { value: 1024 }, allocationInfo: { role: 'ads' } },
        ],
      })),
    },
  };
}

export function update(taskId: string, state: keyof typeof mesos.v1.TaskState, uuid?: number): WireEvent {
  return {
    type: Event.Type.UPDATE,
    update: {
      status: {
        taskId: { value: taskId },
        agentId: { value: 'agent-1' },
        state: mesos.v1.TaskState[state],
        ...(uuid !== undefined && { uuid: new Uint8Array(16).fill(uuid) }),
      },
    },
  };
}

/** Of an executor. */
export const message = (agentId: string, executorId: string, words: string): WireEvent => ({
  type: Event.Type.MESSAGE,
  message: { agentId: { value: agentId }, executorId: { value: executorId }, data: Buffer.from(words) },
});

export const rescind = (id: string): WireEvent => ({ type: Event.Type.RESCIND, rescind: { offerId: { value: id } } });

export const errorEvent = (message: string): WireEvent => ({ type: Event.Type.ERROR, error: { message } });

/** Lets time pass in small steps, with everything that follows from it. */
export const passerOf =
  (clock: ManualClock, network: MemoryNetwork) =>
  async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 50) {
      clock.advance(Math.min(50, left));
      await network.settle();
    }
  };

/** Ends a scheduler with its test, also where nobody answers it any more. */
export function stopWith(t: ExecutionContext, scheduler: Scheduler, pass: (ms: number) => Promise<void>): void {
  t.teardown(async () => {
    const stopped = scheduler.stop({ failover: true, timeoutMs: 1 }).catch(() => undefined);
    await pass(50);
    await stopped;
  });
}

/** Waits for something that comes by itself; the time limit of the test bounds it. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}
