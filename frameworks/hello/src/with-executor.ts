/*
 * The second part of the tutorial: tasks that run in an executor of the framework's own. Read hello.ts before.
 *
 * An executor is a program that the agent starts once for all tasks that name it: good for what is dear to start, for state
 * that tasks share, and for tasks that are no processes at all. Scheduler and executor can talk to each other meanwhile.
 */
import { fileURLToPath } from 'node:url';
import { type Command, type Executor, type Offer, Scheduler, type Task, type TaskStatus } from '@mesobus/sdk/scheduler';
import { HelloError, type HelloOptions } from './hello.ts';

export interface WithExecutorOptions extends Omit<HelloOptions, 'command'> {
  /** What starts the executor; the default needs this very file system on the agents. */
  readonly executor?: Command;
}

/** A message is carried once or lost: it is said again until something comes of it. */
const askAgainMs = 1_000;

/**
 * Runs the tasks in one executor, asks how they are, lets them go, and resolves when all have finished.
 *
 * @throws {HelloError} a task did not finish, or nothing came of it in time
 * @throws what `Scheduler.run` throws
 */
export async function runHelloWithExecutor(options: WithExecutorOptions = {}): Promise<void> {
  await new HelloWithExecutor(options).run();
}

/** This program's own neighbour. In production it would be an archive among the command's `uris`, or in an image. */
function ownExecutor(): Command {
  const program = fileURLToPath(import.meta.resolve('@mesobus/framework-hello/executor'));
  return { argv: [process.execPath, ...process.execArgv, program] };
}

class HelloWithExecutor {
  readonly #print: (line: string) => void;
  readonly #offerTimeoutMs: number;
  readonly #scheduler: Scheduler;
  readonly #executor: Executor;
  #waiting: Task[];
  readonly #running = new Set<string>();
  readonly #finished = new Set<string>();
  readonly #count: number;
  #agentId = '';
  #answered = false;
  #failure: HelloError | undefined;

  constructor(options: WithExecutorOptions) {
    const { tasks = 3, cpus = 0.1, mem = 32, print = console.log, offerTimeoutMs = 30_000 } = options;
    this.#print = print;
    this.#offerTimeoutMs = offerTimeoutMs;
    this.#count = tasks;
    // Tasks that name the same executor on the same agent share it. It has resources of its own, for as long as it lives.
    this.#executor = { id: 'greeter', command: options.executor ?? ownExecutor(), resources: { cpus: 0.1, mem: 64 } };
    this.#waiting = Array.from({ length: tasks }, (_, i) => ({
      id: `hello-${i + 1}`,
      executor: this.#executor,
      resources: { cpus, mem },
      // What the executor is to do, in whatever form the two halves agree on.
      data: Buffer.from(`Hello from task ${i + 1}`),
    }));
    // All on one agent, or they would have an executor on each: what is wanted is one piece with room for all.
    const room = { cpus: tasks * cpus + 0.1, mem: tasks * mem + 64 };
    const demand = () => (this.#waiting.length > 0 ? [{ resources: room, count: 1 }] : []);
    this.#scheduler = new Scheduler(
      { ...options, framework: { name: 'hello-executor' }, demand },
      {
        registered: (frameworkId) => this.#print(`registered as ${frameworkId}`),
        place: (offer) => (offer.holds(room) ? this.#place(offer) : []),
        statusUpdate: (status) => this.#onStatus(status),
        frameworkMessage: (_agentId, executorId, data) => this.#onMessage(executorId, Buffer.from(data).toString()),
        executorLost: (_agentId, executorId) => this.#print(`${executorId} has ended`),
        error: (error) => this.#print(`error: ${error.message}`),
      },
    );
  }

  async run(): Promise<void> {
    const why = `Nothing was heard of the tasks within ${this.#offerTimeoutMs} ms: see \`mesobus agents\``;
    const deadline = setTimeout(() => this.#fail(why), this.#offerTimeoutMs);
    const asking = setInterval(() => this.#ask(), askAgainMs);
    try {
      await this.#scheduler.run();
    } finally {
      clearTimeout(deadline);
      clearInterval(asking);
      await this.#scheduler.stop();
    }
    if (this.#failure !== undefined) throw this.#failure;
    this.#print(`all ${this.#finished.size} tasks have finished`);
  }

  #place(offer: Offer): Task[] {
    const tasks = this.#waiting;
    this.#waiting = [];
    this.#agentId = offer.agentId;
    this.#print(`launching ${tasks.map(({ id }) => id).join(', ')} in ${this.#executor.id} on ${offer.hostname}`);
    return tasks;
  }

  #onStatus({ taskId, state, message, ended }: TaskStatus): void {
    this.#print([taskId, state, message].filter((part) => part !== '').join('  '));
    if (state === 'TASK_RUNNING') this.#running.add(taskId);
    if (state === 'TASK_FINISHED') this.#finished.add(taskId);
    else if (ended) this.#fail(`${taskId} ended as ${state}: ${message}`);
    if (this.#finished.size === this.#count) this.#stop();
    else this.#ask();
  }

  /** Says what is next to be said: first a question, then a farewell. */
  #ask(): void {
    if (this.#running.size < this.#count) return;
    const words = this.#answered ? 'You may go' : 'How are you?';
    void this.#scheduler.sendMessage(this.#agentId, this.#executor.id, Buffer.from(words)).catch(() => undefined);
  }

  #onMessage(executorId: string, words: string): void {
    this.#print(`${executorId} says: ${words}`);
    this.#answered = true;
    this.#ask();
  }

  #fail(message: string): void {
    this.#failure ??= new HelloError(message);
    this.#stop();
  }

  #stop(): void {
    void this.#scheduler.stop().catch((error: Error) => this.#print(`error: ${error.message}`));
  }
}
