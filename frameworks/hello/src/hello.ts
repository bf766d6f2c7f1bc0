/*
 * The tutorial of the SDK: a whole framework in one file.
 *
 * It runs a handful of tasks wherever there is room, and tells what becomes of each. Read it from top to bottom: every
 * call of the SDK that a first framework needs is here, with the reason why.
 */
import { connectOperator, type Operator } from '@mesobus/sdk/operator';
import {
  type Offer,
  Scheduler,
  type SchedulerCallbacks,
  type SchedulerOptions,
  type Task,
  type TaskStatus,
} from '@mesobus/sdk/scheduler';

export interface HelloOptions extends Omit<SchedulerOptions, 'framework' | 'demand'> {
  /** How many; default 10. */
  readonly tasks?: number;
  /** Of each task; default 0.1. */
  readonly cpus?: number;
  /** Of each task, MB; default 32. */
  readonly mem?: number;
  /** A line for the shell; the default says hello and sleeps for a second. */
  readonly command?: string;
  /** Of Docker, which each runs in; default: none, it is a process of its agent. */
  readonly image?: string;
  /** How long to wait for the master and the first offer, ms; default 30 s. */
  readonly offerTimeoutMs?: number;
  /** Where the lines go; default: the standard output. */
  readonly print?: (line: string) => void;
}

/** It did not go well; the message says what happened and what to look at. */
export class HelloError extends Error {
  override readonly name = 'HelloError';
}

/** `mesos.v1.ContainerInfo.Type.DOCKER`. */
const dockerType = 1;
const defaultCommand = 'echo "Hello from $(hostname)"; sleep 1';

/**
 * Runs the tasks and resolves when all have finished.
 *
 * @throws {HelloError} a task did not finish, or no offer came in time
 * @throws what `Scheduler.start` and `Scheduler.run` throw
 */
export async function runHello(options: HelloOptions = {}): Promise<void> {
  const hello = new Hello(options);
  await hello.run();
}

/** For people: the machine, and the end of the agent's id, as one machine may have several agents. */
const agentOf = ({ hostname, agentId }: Offer): string => `${hostname}/${agentId.split('-').at(-1)}`;

class Hello {
  readonly #options: HelloOptions;
  readonly #print: (line: string) => void;
  readonly #scheduler: Scheduler;
  /** Tasks that still need an offer. */
  readonly #waiting: Task[];
  /** Tasks that were launched and have not ended. */
  readonly #running = new Map<string, { readonly task: Task; readonly agent: string }>();
  readonly #sandboxes: Promise<void>[] = [];
  #finished = 0;
  /** What the latest offer held. */
  #seen: string | undefined;
  #operator: Operator | undefined;
  #failure: HelloError | undefined;
  #cancelDeadline: () => void = () => {};

  constructor(options: HelloOptions) {
    this.#options = options;
    this.#print = options.print ?? console.log;
    this.#waiting = this.#createTasks();

    // The callbacks are how Mesobus speaks to a framework. All are optional; they run one after the other, so that no two
    // of them see this object half changed.
    const callbacks: SchedulerCallbacks = {
      registered: (frameworkId, master) =>
        this.#print(`registered as ${frameworkId} with ${master?.id ?? 'the master'}`),
      reregistered: () => this.#onReregistered(),
      disconnected: (why) => this.#print(`disconnected: ${why}`),
      place: (offer) => this.#place(offer),
      statusUpdate: (status) => this.#onStatus(status),
      error: (error) => this.#print(`error: ${error.message}`),
    };

    // Which cluster is meant comes from `options` (nats, token), else from MESOBUS_NATS, else from the file that
    // `mesobus up` writes. A framework needs no more than a name; its tasks die with it unless failoverTimeoutMs is set.
    //
    // `demand` says what waits to be launched; the list itself will do. Offers come only while something is in it, each with
    // room for one of the tasks at least, and the scheduler sees by itself when it changes.
    const demand = (): readonly Task[] => this.#waiting;
    this.#scheduler = new Scheduler({ ...options, framework: { name: 'hello' }, demand }, callbacks);
  }

  async run(): Promise<void> {
    this.#cancelDeadline = this.#startDeadline();
    try {
      // Sandboxes are looked up as an operator would: a scheduler alone does not see into agents.
      this.#operator = await connectOperator({ ...this.#options, timeoutMs: 3000 });
      // Subscribes, and resolves when someone calls stop(). It throws if the master ends the framework.
      await this.#scheduler.run();
      await Promise.all(this.#sandboxes);
    } finally {
      this.#cancelDeadline();
      await this.#scheduler.stop();
      await this.#operator?.close();
    }
    if (this.#failure !== undefined) throw this.#failure;
    this.#print(`all ${this.#finished} tasks have finished`);
  }

  #createTasks(): Task[] {
    const { tasks = 10, cpus = 0.1, mem = 32, command = defaultCommand, image } = this.#options;
    // Whatever has no short form here is as in Mesos' TaskInfo.
    const docker = image === undefined ? {} : { container: { type: dockerType, docker: { image } } };
    // A task id is never used again, within one framework. This framework is a new one at each start (the master gives it
    // its id), so counting is enough; one that takes over its old id would need ids that last.
    return Array.from({ length: tasks }, (_, i) => ({
      id: `hello-${i + 1}`,
      command,
      resources: { cpus, mem },
      ...docker,
    }));
  }

  /**
   * An offer is a part of one agent, held for us alone until we answer. What we put on it is launched, and what that leaves
   * goes back; with nothing on it the whole offer does. The scheduler sees to the answer: offers must not be kept waiting.
   */
  #place(offer: Offer): Task[] {
    const { cpus = 0.1, mem = 32 } = this.#options;
    this.#seen = `cpus:${offer.amounts.cpus};mem:${offer.amounts.mem}`;
    const tasks: Task[] = [];
    // Plain amounts ask for unreserved resources; holds() compares them with what is in the offer.
    const hasRoom = (): boolean => offer.holds({ cpus: (tasks.length + 1) * cpus, mem: (tasks.length + 1) * mem });
    while (this.#waiting.length > 0 && hasRoom()) tasks.push(this.#waiting.shift() as Task);
    if (tasks.length === 0) return [];

    this.#cancelDeadline();
    for (const task of tasks) this.#running.set(task.id, { task, agent: agentOf(offer) });
    this.#print(`launching ${tasks.map(({ id }) => id).join(', ')} on ${agentOf(offer)}`);
    // The launch is one call. When the master has written it down, it survives any crash; what becomes of each task is told
    // to #onStatus.
    return tasks;
  }

  /**
   * A task has come to another state. When this returns, the update is acknowledged; until then the agent would send it
   * again. So whatever must not be forgotten has to be stored before.
   */
  async #onStatus(status: TaskStatus): Promise<void> {
    const { taskId, state, message, ended } = status;
    const launched = this.#running.get(taskId);
    if (launched === undefined) return; // an end that we know already
    this.#print([taskId, state, launched.agent, message].filter((part) => part !== '').join('  '));
    if (state === 'TASK_RUNNING') this.#sandboxes.push(this.#printSandbox(taskId));
    if (!ended) return;

    this.#running.delete(taskId);
    if (state === 'TASK_FINISHED') this.#finished += 1;
    else if (state === 'TASK_DROPPED') this.#launchAgain(launched.task);
    else this.#fail(`${taskId} ended as ${state}${message === '' ? '' : `: ${message}`}; its sandbox says why`);
    const isLast = this.#running.size === 0 && this.#waiting.length === 0;
    // Tears the framework down: whatever still runs is killed, and run() returns. Not awaited, as this callback is one of
    // those that stop() lets end.
    if (isLast || this.#failure !== undefined) {
      await Promise.all(this.#sandboxes); // while the master still knows the tasks
      void this.#scheduler.stop().catch((error: Error) => this.#print(`error: ${error.message}`));
    }
  }

  /** The launch never came to its agent, for example because the offer was rescinded meanwhile. Nothing ran: try again. */
  #launchAgain(task: Task): void {
    this.#waiting.push({ ...task, id: `${task.id}-again` });
  }

  /**
   * Contact was lost and is back. States that came meanwhile are not lost (agents repeat them until they are
   * acknowledged), but asking is the habit of every good framework: a launch may have been dropped on the way.
   */
  async #onReregistered(): Promise<void> {
    this.#print('registered again');
    await this.#scheduler.reconcile([...this.#running.keys()].map((taskId) => ({ taskId })));
  }

  async #printSandbox(taskId: string): Promise<void> {
    const frameworkId = this.#scheduler.frameworkId ?? '';
    try {
      const listing = await this.#operator?.files.list({ frameworkId, taskId });
      this.#print(`${taskId}  sandbox ${listing?.directory}`);
    } catch (error) {
      // Only a convenience: the tasks run without it.
      this.#print(`${taskId}  sandbox unknown: ${(error as Error).message}`);
    }
  }

  #startDeadline(): () => void {
    const { offerTimeoutMs = 30_000 } = this.#options;
    const timer = setTimeout(() => {
      this.#fail(`${this.#whyNothingRuns()} (waited ${offerTimeoutMs} ms)`);
      void this.#scheduler.stop({ timeoutMs: 2000 }).catch(() => undefined);
    }, offerTimeoutMs);
    return () => clearTimeout(timer);
  }

  #whyNothingRuns(): string {
    const { cpus = 0.1, mem = 32 } = this.#options;
    const { frameworkId } = this.#scheduler;
    if (frameworkId === undefined) return 'No master has answered: check that one runs with `mesobus status`';
    const wanted = `cpus:${cpus};mem:${mem}`;
    if (this.#seen !== undefined) return `No offer held ${wanted}, the latest held ${this.#seen}: ask for less`;
    return `No offer has come: see \`mesobus agents\`, and \`mesobus explain ${frameworkId}\` for why none is offered`;
  }

  #fail(message: string): void {
    this.#failure ??= new HelloError(message);
  }
}
