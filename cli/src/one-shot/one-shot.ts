import { RefusedError } from '@mesobus/sdk/errors';
import { connectOperator, type RoleExplanation } from '@mesobus/sdk/operator';
import { formatResources, type Resources } from '@mesobus/sdk/resources';
import { type Offer, Scheduler, type Task, type TaskStatus } from '@mesobus/sdk/scheduler';
import type { ClusterConnection } from '../connect-cluster.ts';
import { SandboxReader } from '../sandbox/sandbox-reader.ts';
import { howManyFit } from './how-many-fit.ts';
import { OutputRelay, type RelayTarget } from './output-relay.ts';
import { TaskBook } from './task-book.ts';

/** What is to be run once. */
export interface OneShotRequest {
  readonly name: string;
  /** One word is a line for the shell, several are a program with its arguments. */
  readonly command: readonly [string, ...string[]];
  /** Of each task. */
  readonly resources: Resources;
  readonly count: number;
  readonly role: string;
  readonly user?: string | undefined;
  readonly env: Readonly<Record<string, string>>;
  /** Print lines with the task's name before them. */
  readonly prefix: boolean;
  /** Give up when no task could be launched for so long, ms; undefined waits for ever. */
  readonly timeoutMs?: number | undefined;
}

/** Where a run says what happens. */
export interface OneShotReport extends RelayTarget {
  registered(frameworkId: string): void;
  /** A task has come to another state. */
  status(status: TaskStatus): void;
  /** For people: why nothing happens, what was lost. */
  complain(problem: string): void;
}

export interface OneShotResult {
  readonly frameworkId: string | undefined;
  /** How many tasks ended in which state. */
  readonly states: Readonly<Record<string, number>>;
  readonly exitCode: number;
}

const tickMs = 250;
/** A master that has removed the framework may not have managed to say so. */
const checkMs = 5000;
/** When nothing fitted for so long it is said, and then again at longer intervals. */
const firstHintMs = 5000;
const nextHintMs = 30_000;
/** How long tasks that are killed may take on top of their own grace before the framework is torn down. */
const killWaitMs = 15_000;
/** Who waits at a terminal hears rather soon that nobody knows why. */
const explainTimeoutMs = 2000;
/** Of the reasons why nothing starts so many are said. */
const reasonsSaid = 3;

/** A framework that runs some tasks to their ends, once. */
export class OneShot {
  private readonly request: OneShotRequest;
  private readonly report: OneShotReport;
  private readonly book: TaskBook;
  private readonly relay: OutputRelay;
  private readonly scheduler: Scheduler;
  private readonly settled = Promise.withResolvers<void>();
  private launchedAtMs = performance.now();
  private hintAtMs = performance.now() + firstHintMs;
  private checkAtMs = performance.now() + checkMs;
  private cancelled: number | undefined;
  private readonly connection: ClusterConnection;
  private asking = false;

  constructor(connection: ClusterConnection, request: OneShotRequest, report: OneShotReport) {
    this.request = request;
    this.report = report;
    this.connection = connection;
    this.book = new TaskBook(request.name, request.count);
    this.relay = new OutputRelay(new SandboxReader(connection), report, {
      lines: request.count > 1,
      prefixOf: (taskId) => (request.prefix ? `[${this.book.nameOf(taskId)}] ` : ''),
    });
    const { name, role, user } = request;
    const { bus, cluster, principal } = connection;
    const framework = { name: `run ${name}`, roles: [role], ...(user !== undefined && { user }) };
    this.scheduler = new Scheduler(
      {
        bus,
        cluster,
        principal,
        framework,
        demand: () => [{ resources: request.resources, count: this.book.pending }],
      },
      {
        registered: (frameworkId) => report.registered(frameworkId),
        place: (offer) => this.place(offer),
        statusUpdate: (status) => this.onStatus(status),
        disconnected: (why) => report.complain(`contact with the master is lost: ${why}; the tasks go on`),
        // Updates that were lost on the way come again by this.
        reregistered: async () => void (await this.scheduler.reconcile()),
        error: (error) => this.settled.reject(error),
      },
    );
  }

  /**
   * Runs until every task has ended and its output is here, then removes the framework.
   *
   * @throws {SchedulerEndedError} the framework may not subscribe, or an operator has torn it down
   * @throws {Error} nothing could be launched within the time limit
   */
  async run(): Promise<OneShotResult> {
    const watch = setInterval(() => this.onTick(), tickMs);
    const running = this.scheduler.run();
    running.catch((error: Error) => this.settled.reject(error));
    try {
      await this.settled.promise;
    } finally {
      clearInterval(watch);
      this.relay.endAll();
      await this.relay.idle();
      await this.scheduler.stop().catch((error: Error) => this.report.complain(error.message));
    }
    const exitCode = this.cancelled ?? this.book.exitCode;
    return { frameworkId: this.scheduler.frameworkId, states: Object.fromEntries(this.book.endStates), exitCode };
  }

  /** Kills the tasks; said twice, it does not wait for their ends. The result has this exit code. */
  cancel(exitCode: number): void {
    if (this.cancelled !== undefined) {
      this.settled.resolve();
      return;
    }
    this.cancelled = exitCode;
    this.book.dropPending();
    const { live } = this.book;
    // What the master does not hear of now dies with the framework.
    for (const taskId of live) this.scheduler.kill(taskId).catch(() => undefined);
    setTimeout(() => this.settled.resolve(), live.length === 0 ? 0 : killWaitMs).unref();
    this.settleIfDone();
  }

  /** The scheduler sees to the rest: what waits in the book is what offers come for. */
  private place(offer: Offer): Task[] {
    const count = howManyFit(offer.resources, this.request.resources, this.book.pending);
    if (count === 0) return [];
    this.launchedAtMs = performance.now();
    this.hintAtMs = this.launchedAtMs + firstHintMs;
    return this.book.take(count).map((task) => this.taskOf(task));
  }

  private taskOf({ taskId, name }: { taskId: string; name: string }): Task {
    const { command, resources, env } = this.request;
    const [first] = command;
    const what = command.length === 1 ? { shell: first } : { argv: command };
    return { id: taskId, name, command: what, resources, env };
  }

  private onStatus(status: TaskStatus): void {
    if (this.book.note(status) !== 'news') return;
    this.report.status(status);
    const { taskId, agentId } = status;
    const frameworkId = this.scheduler.frameworkId;
    const hasSandbox = status.state === 'TASK_RUNNING' || status.ended;
    if (hasSandbox && agentId !== undefined && frameworkId !== undefined) {
      this.relay.started({ frameworkId, taskId, agentId });
    }
    if (status.ended) this.relay.ended(taskId);
    this.settleIfDone();
  }

  private settleIfDone(): void {
    if (this.book.done) this.settled.resolve();
  }

  private onTick(): void {
    const now = performance.now();
    if (now >= this.checkAtMs) {
      this.checkAtMs = now + checkMs;
      void this.check();
    }
    if (this.book.pending === 0 || this.cancelled !== undefined) return;
    const { timeoutMs } = this.request;
    const isLate = timeoutMs !== undefined && now - this.launchedAtMs >= timeoutMs;
    if ((!isLate && now < this.hintAtMs) || this.asking) return;
    this.hintAtMs = now + nextHintMs;
    void this.sayWhyWaiting(isLate ? timeoutMs : undefined);
  }

  /** @param timeoutMs - undefined: there is still time */
  private async sayWhyWaiting(timeoutMs: number | undefined): Promise<void> {
    this.asking = true;
    const why = await this.whyWaiting();
    this.asking = false;
    if (this.book.pending === 0) return; // meanwhile
    if (timeoutMs === undefined) this.report.complain(`still waiting: ${why}`);
    else this.settled.reject(new Error(`Cannot launch within ${timeoutMs / 1000} s: ${why}`));
  }

  /** Asks for one task: whoever has lost an update gets it, and a framework that is gone is refused. */
  private async check(): Promise<void> {
    const { running } = this.book;
    if (running === undefined) return;
    try {
      await this.scheduler.reconcile([running]);
    } catch (error) {
      if (error instanceof RefusedError) this.settled.reject(error);
    }
  }

  private async whyWaiting(): Promise<string> {
    const { resources, role } = this.request;
    const wanted = `${this.book.pending} to launch, each needs ${formatResources(resources)}`;
    const { frameworkId } = this.scheduler;
    if (frameworkId === undefined) return `${wanted}; no master has registered the framework yet`;
    const { bus, cluster, principal } = this.connection;
    await using operator = await connectOperator({ bus, cluster, principal, timeoutMs: explainTimeoutMs });
    try {
      const [explained] = await operator.explain(frameworkId, { role, maxAgents: 0 });
      const reasons = explained === undefined ? [] : reasonsIn(explained);
      return `${wanted}; ${reasons.join('; ') || 'no agent is registered'}`;
    } catch (error) {
      return `${wanted}; and it is not known why: ${(error as Error).message}`;
    }
  }
}

/** As the allocator gives them, the most frequent first. */
function reasonsIn({ withheld, agents }: RoleExplanation): string[] {
  if (withheld !== undefined) return [withheld.detail];
  return agents
    .slice(0, reasonsSaid)
    .map(({ withheld: { detail }, count }) => `of ${count} ${count === 1 ? 'agent' : 'agents'}: ${detail}`);
}
