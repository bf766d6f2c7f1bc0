import { mesobus, mesos } from '@mesobus/protos';
import type { Bus, Delivery, Subjects } from '@mesobus/sdk/bus';
import { isTerminal } from '../../src/core/task-state.ts';
import type { Command } from '../world.ts';

type Request = Delivery<mesobus.v1.AgentRequest, mesobus.v1.AgentReply.$Properties>;

const commandTimeoutMs = 2_000;
const { TaskState } = mesos.v1;

/** Leads over a real bus: registers one agent, sends what it is told, and acknowledges what it hears. */
export class FakeLeader {
  readonly registrations: mesobus.v1.RegisterAgent[] = [];
  readonly updates: mesobus.v1.TaskUpdate[] = [];
  readonly heartbeats: mesobus.v1.Heartbeat[] = [];
  /** The framework acknowledges at once. */
  acknowledges = true;
  cursor = 0;
  unregistered = false;
  incarnation = '';
  /** Says why nothing will be heard any more, and so why there is no use in waiting. */
  hopeless: () => string | undefined = () => undefined;
  readonly agentId = 'm1-S0';
  readonly #bus: Bus;
  readonly #subjects: Subjects;
  readonly #agentName: string;
  readonly #log: Command[] = [];
  readonly #waiting = new Set<() => void>();

  constructor(bus: Bus, subjects: Subjects, agentName: string) {
    this.#bus = bus;
    this.#subjects = subjects;
    this.#agentName = agentName;
    bus.setEpoch({ incarnation: 1, epoch: 1 });
    bus.serve(subjects.masterAgent.any, (delivery) => this.#onRequest(delivery));
    bus.serve(subjects.heartbeat.any, ({ message }) => {
      this.heartbeats.push(message);
      this.wake();
    });
  }

  elect(epoch: number): void {
    this.#bus.setEpoch({ incarnation: 1, epoch });
    this.#bus.publish(this.#subjects.leader, { masterId: `m${epoch}`, phase: mesobus.v1.LeaderBeat.Phase.LEADING });
  }

  #onRequest(delivery: Request): void {
    const { message } = delivery;
    if (message.register) {
      this.incarnation = message.incarnation;
      this.cursor = message.register.cursor;
      this.registrations.push(message.register);
      const registered = { agentId: this.agentId, heartbeatIntervalMs: 200, silenceTimeoutMs: 60_000 };
      delivery.reply({ registered });
    } else if (message.taskUpdates) {
      this.updates.push(...message.taskUpdates.updates);
      delivery.reply({ taskUpdatesTaken: {} });
      if (this.acknowledges) this.acknowledgeAll();
    } else {
      this.unregistered ||= message.unregister !== null;
      delivery.reply({ taken: {} });
    }
    this.wake();
  }

  acknowledgeAll(): void {
    const commands = this.updates.map(({ frameworkId, status }) => ({
      acknowledgeUpdate: {
        task: { frameworkId, taskId: status?.taskId.value ?? '' },
        uuid: status?.uuid ?? new Uint8Array(),
      },
    }));
    void this.#send(commands);
  }

  /** Adds commands to the log and sends what the agent has not taken. Resolves when its cursor says that it has. */
  async command(...make: ((number: number) => Command)[]): Promise<void> {
    for (const one of make) this.#log.push(one(this.#log.length + 1));
    while (this.cursor < this.#log.length) {
      this.#requireHope();
      await this.#send(this.#log.slice(this.cursor));
    }
  }

  async #send(commands: Command[]): Promise<void> {
    const { agentId, incarnation } = this;
    const channel = this.#subjects.agent.of(this.#agentName);
    try {
      const { message } = await this.#bus.request(
        channel,
        { agentId, incarnation, commands },
        { timeoutMs: commandTimeoutMs },
      );
      this.cursor = Math.max(this.cursor, message.cursor);
    } catch {
      // It is down or did not answer: whoever waits asks again.
      await this.until(() => true, 50);
    }
  }

  /** The states of a task that were heard, each once, in order. */
  states(taskId: string): string[] {
    const mine = this.updates.filter(({ status }) => status?.taskId.value === taskId);
    return [...new Map(mine.map(({ number, status }) => [number, TaskState[status?.state ?? 0] ?? '']))]
      .sort(([a], [b]) => a - b)
      .map(([, state]) => state);
  }

  /** Waits for an update of a task in a state. */
  async update(taskId: string, state: keyof typeof TaskState): Promise<mesobus.v1.TaskUpdate> {
    const found = (): mesobus.v1.TaskUpdate | undefined =>
      this.updates.find(({ status }) => status?.taskId.value === taskId && status.state === TaskState[state]);
    await this.until(() => found() !== undefined);
    return found() as mesobus.v1.TaskUpdate;
  }

  async end(taskId: string): Promise<mesobus.v1.TaskUpdate> {
    const found = (): mesobus.v1.TaskUpdate | undefined =>
      this.updates.find(({ status }) => status?.taskId.value === taskId && isTerminal(status.state));
    await this.until(() => found() !== undefined);
    return found() as mesobus.v1.TaskUpdate;
  }

  /**
   * Waits until something that the leader hears makes the condition true, and at least so long.
   *
   * @throws {Error} nobody is left to be heard
   */
  async until(condition: () => boolean, atLeastMs = 0): Promise<void> {
    if (atLeastMs > 0) await new Promise((resolve) => setTimeout(resolve, atLeastMs));
    while (!condition()) {
      this.#requireHope();
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#waiting.delete(wake);
          resolve();
        };
        this.#waiting.add(wake);
      });
    }
  }

  #requireHope(): void {
    const why = this.hopeless();
    if (why !== undefined) throw new Error(`The leader waits in vain: ${why}`);
  }

  /** Whoever waits looks again. */
  wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}
