import { type mesobus, mesos } from '@mesobus/protos';
import { type Bus, type Delivery, subjectsOf } from '@mesobus/sdk/bus';

/** The name of the one agent. */
export const agentName = 'bench';
const subjects = subjectsOf('main');
const { TaskState } = mesos.v1;

type Command = mesobus.v1.AgentCommand.$Properties;
type Request = Delivery<mesobus.v1.AgentRequest, mesobus.v1.AgentReply.$Properties>;

/** Commands sent at a time: each message stays below the limit of the server. */
const commandsAtOnce = 250;

/** What an agent needs of a leader. */
export class Leader {
  readonly #bus: Bus;
  readonly #registered = Promise.withResolvers<void>();
  readonly registered = this.#registered.promise;
  readonly #container: mesos.v1.ContainerInfo.$Properties | undefined;
  #incarnation = '';
  #number = 0;
  #onUpdate: (update: mesobus.v1.TaskUpdate) => void = () => undefined;

  /** @param container - of every task */
  constructor(bus: Bus, container?: mesos.v1.ContainerInfo.$Properties) {
    this.#bus = bus;
    this.#container = container;
    bus.setEpoch({ incarnation: 1, epoch: 1 });
    bus.serve(subjects.masterAgent.any, (delivery) => this.#onRequest(delivery));
    bus.serve(subjects.heartbeat.any, () => undefined);
  }

  /** Seconds until the last of so many tasks has ended, and the agent has heard that this is known. */
  async runToEnd(prefix: string, count: number, argv: readonly string[]): Promise<number> {
    const { TASK_FINISHED } = TaskState;
    return this.#measure(count, TASK_FINISHED, () => this.#launch(prefix, count, argv));
  }

  /** Seconds until the last of so many tasks runs. */
  async start(prefix: string, count: number, argv: readonly string[]): Promise<number> {
    const { TASK_RUNNING } = TaskState;
    return this.#measure(count, TASK_RUNNING, () => this.#launch(prefix, count, argv));
  }

  /** Seconds until the last of them is killed. */
  async kill(prefix: string, count: number, graceSeconds: number): Promise<number> {
    const killPolicy = { gracePeriod: { nanoseconds: BigInt(graceSeconds) * 1_000_000_000n } };
    return this.#measure(count, TaskState.TASK_KILLED, () =>
      this.#command(
        Array.from({ length: count }, (_, index) => ({
          killTask: { task: { frameworkId: 'F', taskId: `${prefix}-${index}` }, killPolicy },
        })),
      ),
    );
  }

  async #measure(count: number, state: mesos.v1.TaskState, act: () => Promise<void>): Promise<number> {
    const done = Promise.withResolvers<void>();
    const there = new Set<string>();
    this.#onUpdate = ({ status }) => {
      if (status === null || status === undefined) return;
      if (status.state === state) there.add(status.taskId.value);
      else if (status.state === TaskState.TASK_FAILED || status.state === TaskState.TASK_ERROR) {
        done.reject(new Error(`${status.taskId.value}: ${status.message}`));
      }
      if (there.size === count) done.resolve();
    };
    const began = performance.now();
    await Promise.all([act(), done.promise]);
    return (performance.now() - began) / 1000;
  }

  #launch(prefix: string, count: number, [value = '', ...rest]: readonly string[]): Promise<void> {
    const framework = { user: 'root', name: 'bench', id: { value: 'F' } };
    const scalar = (name: string, amount: number) => ({
      name,
      type: mesos.v1.Value.Type.SCALAR,
      scalar: { value: amount },
    });
    // To a process its own name is the first argument; Docker has it from the image or the command.
    const command = { shell: false, value, arguments: this.#container === undefined ? [value, ...rest] : rest };
    return this.#command(
      Array.from({ length: count }, (_, index) => {
        const id = `${prefix}-${index}`;
        const resources = [scalar('cpus', 0.1), scalar('mem', 64)];
        const container = this.#container;
        const task = { name: id, taskId: { value: id }, agentId: { value: 'S0' }, command, resources, container };
        return { runTask: { framework, task } };
      }),
    );
  }

  async #command(commands: readonly Omit<Command, 'number'>[]): Promise<void> {
    for (let from = 0; from < commands.length; from += commandsAtOnce) {
      const some = commands.slice(from, from + commandsAtOnce).map((command): Command => {
        this.#number += 1;
        return { ...command, number: this.#number };
      });
      await this.#send(some);
    }
  }

  async #send(commands: Command[]): Promise<void> {
    const message = { agentId: 'S0', incarnation: this.#incarnation, commands };
    await this.#bus.request(subjects.agent.of(agentName), message, { timeoutMs: 60_000 });
  }

  #onRequest(delivery: Request): void {
    const { message } = delivery;
    if (message.register) {
      this.#incarnation = message.incarnation;
      delivery.reply({ registered: { agentId: 'S0', heartbeatIntervalMs: 5_000, silenceTimeoutMs: 600_000 } });
      this.#registered.resolve();
    } else if (message.taskUpdates) {
      const { updates } = message.taskUpdates;
      delivery.reply({ taskUpdatesTaken: {} });
      this.#send(updates.map(acknowledgement)).catch(() => undefined); // the last ones, when the agent has ended
      for (const update of updates) this.#onUpdate(update);
    } else delivery.reply({ taken: {} });
  }
}

const acknowledgement = ({ frameworkId, status }: mesobus.v1.TaskUpdate): Command => ({
  acknowledgeUpdate: {
    task: { frameworkId, taskId: status?.taskId.value ?? '' },
    uuid: status?.uuid ?? new Uint8Array(),
  },
});
