import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import {
  type LocalCluster,
  type LocalClusterOptions,
  startLocalCluster,
  stopRecordedCluster,
} from '@mesobus/cli/local-cluster';
import { connectOperator, type Operator } from '@mesobus/sdk/operator';
import { LeaderWatch } from './leader-watch.ts';
import { type Tally, Workload } from './workload.ts';

/** What a run is given from outside. */
export interface RunOptions {
  /** How many real tasks are to run. */
  readonly tasks: number;
  /** How often the agent of `agent-crashes` is killed. */
  readonly rounds: number;
  /** Progress, for people. */
  readonly say: (line: string) => void;
  /** Aborted when somebody has had enough. */
  readonly signal: AbortSignal;
  /** Logs, sandboxes and the journal of the framework stay for whoever wants to know more. */
  readonly keep?: boolean;
  /** Where the cluster keeps its state; a folder of its own below `.mesobus` unless given. */
  readonly dir?: string;
}

export interface StageOptions extends RunOptions {
  /** Of the scenario. */
  readonly name: string;
  /** How long each of them takes: at least and at most, in seconds. */
  readonly seconds: readonly [number, number];
  /** How many run at once. */
  readonly slots: number;
  readonly placeOf?: LocalClusterOptions['placeOf'];
}

/** What every scenario reports. */
export interface Outcome extends Tally {
  readonly tasks: number;
  /** Tasks that did not run, as their status says, and were launched under another id: on offers of a dead leader. */
  readonly relaunched: number;
  readonly alive_at_blows: readonly number[];
  readonly master_changes: number;
}

/** So many tasks are under way at each blow, or it would prove nothing. */
const leastAlive = 50;

const agents = 4;
const underWay = new Set(['TASK_STAGING', 'TASK_STARTING', 'TASK_RUNNING']);

/**
 * A whole cluster of real processes (three NATS servers, three masters, two allocators, two registries, four agents), a
 * framework that keeps it busy, and those who watch.
 */
export class Stage implements AsyncDisposable {
  readonly cluster: LocalCluster;
  readonly workload: Workload;
  readonly leaders: LeaderWatch;
  readonly operator: Operator;
  readonly options: StageOptions;
  /** Tasks that were under way at each blow. */
  readonly alive: number[] = [];

  private constructor(
    options: StageOptions,
    parts: { cluster: LocalCluster; workload: Workload; leaders: LeaderWatch; operator: Operator },
  ) {
    this.options = options;
    this.cluster = parts.cluster;
    this.workload = parts.workload;
    this.leaders = parts.leaders;
    this.operator = parts.operator;
  }

  /** What an earlier run has left behind is ended and removed first. */
  static async set(options: StageOptions): Promise<Stage> {
    const { name, tasks, seconds, slots, say, signal, placeOf } = options;
    const dir = options.dir ?? path.resolve('.mesobus', `chaos-${name}`);
    if (existsSync(dir)) await stopRecordedCluster({ dir, purge: true });
    say('starting 3 NATS servers, 3 masters, 2 allocators, 2 registries and 4 agents');
    const cluster = await startLocalCluster({
      ...{ dir, agents, natsServers: 3, masters: 3, allocators: 2, registries: 2, signal, placeOf },
      resources: `cpus:${slots / agents};mem:${slots}`,
      report: (event) => {
        if (event.kind === 'died') say(`${event.name} ${event.how}`);
      },
    });
    try {
      const { nats, token } = cluster;
      const where = { nats, token, cluster: cluster.cluster };
      const output = path.join(dir, 'agents', 'ran');
      mkdirSync(path.dirname(output), { recursive: true });
      const work = { ...where, items: tasks, seconds, output, journal: path.join(dir, 'run', 'framework.jsonl') };
      const [operator, leaders] = await Promise.all([
        connectOperator({ ...where, timeoutMs: 60_000 }),
        LeaderWatch.on(where),
      ]);
      return new Stage(options, { cluster, workload: new Workload(work, options), leaders, operator });
    } catch (error) {
      await cluster.stop({ purge: true });
      throw error;
    }
  }

  /** Waits until enough tasks are under way, by what the registries say. */
  private async untilBusy(): Promise<void> {
    for (;;) {
      const count = await this.underWay();
      if (count >= leastAlive) {
        this.alive.push(count);
        this.options.say(`${this.workload.launched} launched, ${count} under way, ${this.workload.finished} finished`);
        return;
      }
      if (this.workload.launched >= this.options.tasks)
        throw new Error(`only ${count} tasks are under way, and no more come`);
      await this.workload.untilLaunched(Math.min(this.workload.launched + 1, this.options.tasks));
    }
  }

  /**
   * Strikes so many times, spread over the work, each time while the cluster is busy.
   *
   * @param aim - finds who is to be struck; what is under way is counted after it, just before the blow
   */
  async strike<Target, T>(
    times: number,
    aim: (index: number) => Promise<Target>,
    blow: (target: Target, index: number) => Promise<T>,
  ): Promise<T[]> {
    const outcomes: T[] = [];
    for (let index = 0; index < times; index += 1) {
      await this.workload.untilLaunched(Math.floor((this.options.tasks * (index + 1)) / (times + 1)));
      const target = await aim(index);
      await this.untilBusy();
      outcomes.push(await blow(target, index));
    }
    return outcomes;
  }

  private async underWay(): Promise<number> {
    let count = 0;
    for await (const { state } of this.operator.tasks()) if (underWay.has(state)) count += 1;
    return count;
  }

  /** Waits for the end of all work; gives what every scenario reports. */
  async finish(): Promise<Outcome> {
    await this.workload.untilDone();
    const { workload, alive, leaders, options } = this;
    const tally = workload.tally();
    options.say(`all ended: ${JSON.stringify(tally)}`);
    return {
      tasks: options.tasks,
      ...tally,
      relaunched: workload.again,
      alive_at_blows: alive,
      master_changes: leaders.changes,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.workload.stop();
    await this.operator.close();
    await this.leaders.close();
    await this.cluster.stop({ purge: this.options.keep !== true });
  }
}
