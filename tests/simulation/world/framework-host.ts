import type { EnvelopeBus } from '@mesobus/sdk/bus';
import { type Offer, Scheduler, SchedulerEndedError, type Task, type TaskStatus } from '@mesobus/sdk/scheduler';
import type { SimulatedProcess } from '../engine/engine.ts';
import type { FrameworkPlan, Want } from '../plan.ts';
import { commandText } from './containers.ts';
import { Host } from './host.ts';
import { Line } from './network.ts';
import type { World } from './world.ts';

/** One launch that the framework has decided. */
export interface Launched {
  readonly want: Want;
  readonly id: string;
  readonly frameworkId: string;
  /** `launching`: the call has no answer yet. `over`: it has ended, or is written off. */
  phase: 'launching' | 'accepted' | 'over';
  /** The process whose call has no answer. */
  caller: SimulatedProcess | undefined;
  agentId: string | undefined;
  heardAt: number;
  launchedAt: number;
  killAskedAt: number;
}

/** What a framework keeps where its scheduler's death does not reach. */
interface Memory {
  frameworkId: string | undefined;
  readonly launched: Map<string, Launched>;
  /** How often each want was tried. */
  readonly attempts: Map<string, number>;
  readonly wanted: Set<Want>;
  done: number;
}

/** What runs the tasks of a launch. */
const ways = ['plain', 'plain', 'group', 'executor'] as const;
/** Of an executor, beside its tasks. */
const executorSize = { cpus: 0.1, mem: 16 };
const nothing = { cpus: 0, mem: 0 };
const tickMs = 1_000;
const reconcileEveryMs = 10_000;
const killEveryMs = 8_000;
const maxAttempts = 6;
/** These ends are what was wanted; after any other one the work is tried again. */
const asWanted: readonly string[] = ['TASK_FINISHED', 'TASK_KILLED'];
/** The master does not know the task, and no agent is missing that might. */
const unknown: readonly string[] = ['TASK_UNKNOWN', 'TASK_GONE', 'TASK_LOST'];

/** A framework: the real scheduler of the SDK, and work for it. */
export class FrameworkHost extends Host {
  readonly plan: FrameworkPlan;
  readonly memory: Memory = {
    frameworkId: undefined,
    launched: new Map(),
    attempts: new Map(),
    wanted: new Set(),
    done: 0,
  };
  /** Ids of this framework that were removed. */
  readonly removed: string[] = [];
  /** Instances that another one has taken over from, and which may not know it yet. */
  readonly #olds = new Set<SimulatedProcess>();

  constructor(world: World, plan: FrameworkPlan) {
    super(world, plan.name);
    this.plan = plan;
    for (const want of world.plan.wants) {
      if (want.framework !== plan.name) continue;
      world.engine.after(want.at, undefined, () => {
        if (!want.spare || world.hasTooFewInputs) this.memory.wanted.add(want);
      });
    }
  }

  /** Every other framework says what it wants; the others do as Mesos' frameworks have to. */
  get saysDemand(): boolean {
    return this.world.plan.frameworks.indexOf(this.plan) % 2 === 0;
  }

  /** A second instance takes over while the first still runs, on another machine; perhaps the first hears nothing more. */
  twin(oldLivesMs: number): void {
    const old = this.process;
    if (old === undefined || old.ended || this.memory.frameworkId === undefined) return;
    this.#olds.add(old);
    this.line.inCut = this.world.dice.chance(0.5);
    this.line = new Line();
    this.process = undefined;
    this.world.engine.after(oldLivesMs, undefined, () => old.end());
    this.start();
  }

  protected override main(process: SimulatedProcess, bus: EnvelopeBus): void {
    new Instance(this, process, bus).start();
  }

  override end(): void {
    for (const old of this.#olds) old.end();
    super.end();
  }

  /** The master has ended this instance. */
  onEndedByMaster(process: SimulatedProcess, error: SchedulerEndedError): void {
    this.world.tell(this.name, 'the scheduler has ended', { why: error.message });
    if (this.#olds.has(process)) {
      this.world.counters.add('instance superseded while it lived');
      process.end();
      return;
    }
    const { frameworkId } = this.memory;
    if (error.reason !== 'superseded' && frameworkId !== undefined) this.#writeOff(frameworkId);
    this.exit(process, error.message);
  }

  /** The framework was removed, and its tasks with it: what was not done is wanted again, of another. */
  #writeOff(frameworkId: string): void {
    const { memory } = this;
    memory.frameworkId = undefined;
    this.removed.push(frameworkId);
    for (const launched of memory.launched.values()) {
      if (launched.phase === 'over') continue;
      launched.phase = 'over';
      this.wantAgain(launched.want);
    }
  }

  wantAgain(want: Want): void {
    if ((this.memory.attempts.get(want.id) ?? 0) < maxAttempts) this.memory.wanted.add(want);
  }
}

/** One process of a framework. */
class Instance {
  readonly #host: FrameworkHost;
  readonly #memory: Memory;
  readonly #process: SimulatedProcess;
  readonly #scheduler: Scheduler;
  #registered = false;
  #reconciledAt = 0;
  #suppressed = false;
  #seenWants = 0;

  constructor(host: FrameworkHost, process: SimulatedProcess, bus: EnvelopeBus) {
    this.#host = host;
    this.#memory = host.memory;
    this.#process = process;
    const { name, role, failoverTimeoutMs, acknowledgeAfterMs } = host.plan;
    const id = this.#memory.frameworkId;
    this.#scheduler = new Scheduler(
      {
        framework: { name, user: 'sim', roles: [role], failoverTimeoutMs, ...(id !== undefined && { id }) },
        bus,
        principal: name,
        clock: process.clock,
        now: process.wallMs,
        random: process.dice.random,
        instanceId: process.name,
        acknowledge: acknowledgeAfterMs > 0 ? 'manual' : 'auto',
        ...(host.saysDemand && { demand: () => this.#waiting() }),
      },
      {
        registered: (frameworkId) => this.#onRegistered(frameworkId),
        reregistered: () => this.#onRegistered(this.#memory.frameworkId as string),
        disconnected: (why) => {
          this.#registered = false;
          host.world.counters.add('scheduler lost contact and came back');
          host.world.tell(host.name, 'disconnected', { why });
        },
        resourceOffers: (offers) => this.#onOffers(offers),
        offerRescinded: () => host.world.counters.add('offer rescinded'),
        statusUpdate: (status) => this.#onUpdate(status),
        error: (error) => {
          if (error instanceof SchedulerEndedError) host.onEndedByMaster(process, error);
          else host.world.witness.onCallbackFailed(host, error);
        },
      },
    );
  }

  start(): void {
    this.#scheduler.run().catch(() => undefined); // `error` has said it
    this.#tickLater();
  }

  #onRegistered(frameworkId: string): void {
    this.#memory.frameworkId = frameworkId;
    this.#registered = true;
    this.#suppressed = false;
    this.#reconciledAt = 0;
    this.#reconcile();
  }

  #tickLater(): void {
    this.#process.clock.after(tickMs, () => {
      this.#tickLater();
      if (this.#registered) this.#tick();
    });
  }

  #waiting(): { resources: { cpus: number; mem: number } }[] {
    return [...this.#memory.wanted].map(({ cpus, mem }) => ({ resources: { cpus, mem } }));
  }

  #tick(): void {
    if (!this.#host.saysDemand) this.#suppressOrRevive();
    this.#kill();
    if (this.#process.clock.now() - this.#reconciledAt > reconcileEveryMs) this.#reconcile();
  }

  #suppressOrRevive(): void {
    const { wanted } = this.#memory;
    if (wanted.size > this.#seenWants || (wanted.size > 0 && this.#suppressed)) {
      this.#suppressed = false;
      this.#do(this.#scheduler.revive());
    } else if (wanted.size === 0 && !this.#suppressed) {
      this.#suppressed = true;
      this.#do(this.#scheduler.suppress());
    }
    this.#seenWants = wanted.size;
  }

  #onOffers(offers: readonly Offer[]): void {
    this.#host.world.witness.onOffers(this.#host, offers);
    const { dice } = this.#process;
    for (const offer of offers) {
      const how = dice.pick(ways);
      const chosen = dice.chance(0.9) ? this.#choose(offer, how === 'plain' ? nothing : executorSize) : [];
      if (chosen.length > 0) this.#launch(offer, chosen, how);
      else if (dice.chance(0.97)) this.#do(this.#scheduler.decline(offer, { refuseSeconds: dice.pick([1, 3, 5]) }));
    }
  }

  /** @param beside - what else must fit into the offer */
  #choose({ amounts }: Offer, beside: typeof nothing): Want[] {
    const chosen: Want[] = [];
    let cpus = Number(amounts['cpus'] ?? 0) - beside.cpus;
    let mem = Number(amounts['mem'] ?? 0) - beside.mem;
    for (const want of this.#memory.wanted) {
      if (want.cpus > cpus + 1e-9 || want.mem > mem + 1e-9) continue;
      chosen.push(want);
      this.#memory.wanted.delete(want);
      cpus -= want.cpus;
      mem -= want.mem;
    }
    return chosen;
  }

  /** What is decided is remembered before it is said. */
  #launch(offer: Offer, wants: readonly Want[], how: (typeof ways)[number]): void {
    const { world } = this.#host;
    const now = this.#process.clock.now();
    const launches = wants.map((want): Launched => {
      const attempt = (this.#memory.attempts.get(want.id) ?? 0) + 1;
      this.#memory.attempts.set(want.id, attempt);
      const times = { heardAt: now, launchedAt: now, killAskedAt: 0 };
      const launched: Launched = {
        want,
        id: `${want.id}.${attempt}`,
        frameworkId: this.#memory.frameworkId as string,
        phase: 'launching',
        caller: this.#process,
        agentId: offer.agentId,
        ...times,
      };
      this.#memory.launched.set(launched.id, launched);
      return launched;
    });
    const tasks = launches.map(({ id, want: { cpus, mem, runMs, exitCode } }): Task => {
      const text = commandText(runMs, exitCode);
      const common = { id, resources: { cpus, mem }, killGraceMs: 2_000 };
      if (how !== 'executor') return { ...common, command: text };
      const executor = { id: 'runner', command: 'runner', resources: executorSize };
      return { ...common, executor, data: Buffer.from(text) };
    });
    world.counters.add('launch asked', tasks.length);
    if (how !== 'plain') world.counters.add(`${how} launch asked`);
    const executor = { id: 'pod', resources: executorSize };
    const what = how === 'group' ? [{ kind: 'launch_group', executor, tasks } as const] : tasks;
    this.#scheduler.accept(offer, what, { refuseSeconds: 1 }).then(
      ({ logIndex }) => {
        world.witness.onLaunchAccepted(this.#host, launches, logIndex);
        for (const launched of launches) if (launched.phase === 'launching') launched.phase = 'accepted';
      },
      (error: unknown) => {
        if (error instanceof SchedulerEndedError) return;
        world.tell(this.#host.name, 'a launch was refused', { why: String(error) });
        for (const launched of launches) this.#over(launched, true);
      },
    );
  }

  #onUpdate(status: TaskStatus): void {
    const { world, plan } = this.#host;
    const launched = this.#memory.launched.get(status.taskId);
    world.witness.onUpdate(this.#host, status);
    if (launched !== undefined && launched.phase !== 'over') {
      launched.heardAt = this.#process.clock.now();
      launched.agentId = status.agentId ?? launched.agentId;
      launched.phase = 'accepted'; // whoever asked for it may have died before he heard so
      const { exitCode } = launched.want;
      const failed = status.state === 'TASK_FAILED' && exitCode !== 0;
      if (status.ended || unknown.includes(status.state)) {
        this.#over(launched, !(failed || asWanted.includes(status.state)));
      }
    }
    if (plan.acknowledgeAfterMs === 0) return;
    const delayMs = plan.acknowledgeAfterMs * this.#process.dice.between(0.1, 1.5);
    this.#process.clock.after(delayMs, () => this.#do(this.#scheduler.acknowledge(status)));
  }

  #over(launched: Launched, again: boolean): void {
    if (launched.phase === 'over') return;
    launched.phase = 'over';
    if (again) this.#host.wantAgain(launched.want);
    else this.#memory.done += 1;
  }

  #kill(): void {
    const now = this.#process.clock.now();
    for (const launched of this.#memory.launched.values()) {
      const { want, phase, launchedAt, killAskedAt } = launched;
      if (phase !== 'accepted' || want.killAfterMs === 0 || now < launchedAt + want.killAfterMs) continue;
      if (killAskedAt > 0 && now < killAskedAt + killEveryMs) continue;
      launched.killAskedAt = now;
      this.#do(this.#scheduler.kill(launched.id));
    }
  }

  /** Asks what has become of tasks of which nothing was heard; after a subscription of all. */
  #reconcile(): void {
    const now = this.#process.clock.now();
    const all = this.#reconciledAt === 0;
    this.#reconciledAt = now;
    const asked: { taskId: string; agentId?: string }[] = [];
    for (const { id, phase, caller, heardAt, agentId } of this.#memory.launched.values()) {
      // What this process has asked for and heard nothing of is repeated by the SDK.
      if (phase === 'over' || (phase === 'launching' && caller === this.#process)) continue;
      if (!all && now - heardAt < reconcileEveryMs) continue;
      asked.push({ taskId: id, ...(agentId !== undefined && { agentId }) });
    }
    if (asked.length > 0) this.#do(this.#scheduler.reconcile(asked));
  }

  /** A call that is refused, or ends with the subscription, is of no consequence to the workload. */
  #do(call: Promise<unknown>): void {
    call.catch(() => undefined);
  }
}
