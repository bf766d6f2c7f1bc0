import type { Machine } from '@mesobus/agent/shell/run';
import { mesos } from '@mesobus/protos';
import type { Dice } from '../engine/dice.ts';
import type { Engine, SimulatedProcess } from '../engine/engine.ts';
import type { Start } from './containers.ts';

type Endpoint = Awaited<ReturnType<Machine['openExecutors']>>;
type Options = Parameters<Machine['openExecutors']>[0];
type Event = mesos.v1.executor.Event.$Properties;
type Status = mesos.v1.TaskStatus.$Properties;

const { TASK_RUNNING, TASK_FINISHED, TASK_FAILED, TASK_KILLED } = mesos.v1.TaskState;
const { SOURCE_EXECUTOR } = mesos.v1.TaskStatus.Source;
const EventType = mesos.v1.executor.Event.Type;
const CallType = mesos.v1.executor.Call.Type;

/** One that has had nothing to do, and nothing to say, for so long ends itself. */
const idleMs = 2_000;
/** Its calls come in the order in which it makes them. */
const callMs = 0.3;

interface Task {
  readonly info: mesos.v1.TaskInfo.$Properties;
  /** In order. */
  unacknowledged: Status[];
  /** Something of it was acknowledged. */
  heardOf: boolean;
  over: boolean;
  cancel: () => void;
}

/** An executor in its container. */
interface Program {
  readonly start: Start;
  readonly tasks: Map<string, Task>;
  /** Counts its streams; what was sent in an earlier one is lost. */
  stream: number;
  connected: boolean;
  idleSince: number;
  ended: boolean;
}

interface Observer {
  onTold(task: Pick<Start, 'frameworkId' | 'taskId' | 'agentId'>): void;
  onSubscribedAgain(): void;
}

/** The executors of simulated frameworks: they run their tasks by themselves, and outlive the agent. */
export class SimulatedExecutors {
  readonly #engine: Engine;
  readonly #dice: Dice;
  readonly #observer: Observer;
  readonly #all = new Map<string, Program>();
  /** Ends the container of one. */
  exit: (containerId: string, status: number) => void = () => {};
  #agent: { readonly process: SimulatedProcess; readonly onInput: Options['onInput'] } | undefined;
  #refused = false;

  constructor(engine: Engine, dice: Dice, observer: Observer) {
    this.#engine = engine;
    this.#dice = dice;
    this.#observer = observer;
  }

  /** As one process of the agent sees them. */
  of(process: SimulatedProcess, { onInput }: Options): Endpoint {
    this.#agent = { process, onInput };
    for (const program of this.#all.values()) this.#subscribeLater(program);
    return {
      environmentOf: () => ({}),
      send: (containerId, event) => this.#send(containerId, event),
      refuse: () => {
        this.#refused = true;
      },
      close: async () => {},
    };
  }

  agentDied(): void {
    this.#agent = undefined;
    for (const program of this.#all.values()) program.connected = false;
  }

  begin(start: Start): void {
    const program = { start, tasks: new Map(), stream: 0, connected: false, idleSince: 0, ended: false };
    this.#all.set(start.containerId, program);
    this.#subscribeLater(program);
  }

  end(containerId: string): void {
    const program = this.#all.get(containerId);
    if (program === undefined) return;
    program.ended = true;
    for (const task of program.tasks.values()) task.cancel();
    this.#all.delete(containerId);
    if (program.connected) this.#input({ kind: 'executor_disconnected', containerId });
  }

  /** @returns false if the agent does not take it, or is not there */
  #input(input: Parameters<Options['onInput']>[0]): void {
    const agent = this.#agent;
    if (agent !== undefined) this.#engine.after(callMs, agent.process, () => agent.onInput(input));
  }

  #subscribeLater(program: Program): void {
    this.#engine.after(this.#dice.between(1, 400), undefined, () => this.#subscribe(program));
  }

  #subscribe(program: Program): void {
    const agent = this.#agent;
    if (program.ended || program.connected || agent === undefined) return;
    const { containerId } = program.start;
    const tasks = [...program.tasks.values()];
    this.#engine.after(callMs, agent.process, () => {
      if (program.ended || program.connected || this.#agent !== agent) return;
      program.stream += 1;
      if (program.stream > 1) this.#observer.onSubscribedAgain();
      program.connected = true;
      program.idleSince = this.#engine.now;
      this.#refused = false;
      agent.onInput({
        kind: 'executor_subscribed',
        containerId,
        subscribe: {
          unacknowledgedTasks: tasks.filter(({ heardOf }) => !heardOf).map(({ info }) => info),
          unacknowledgedUpdates: tasks.flatMap(({ unacknowledged }) => unacknowledged.map((status) => ({ status }))),
        },
      });
      if (this.#refused) program.connected = false;
      this.#watch(program, program.stream);
    });
  }

  #send(containerId: string, event: Event): void {
    const program = this.#all.get(containerId);
    if (program === undefined || !program.connected) return;
    const { stream } = program;
    if (event.type !== EventType.SUBSCRIBED && this.#dice.chance(0.03)) {
      // The stream breaks before the event is through.
      program.connected = false;
      this.#input({ kind: 'executor_disconnected', containerId });
      this.#subscribeLater(program);
      return;
    }
    this.#engine.after(callMs, undefined, () => {
      if (!program.ended && program.connected && program.stream === stream) this.#hear(program, event);
    });
  }

  #hear(program: Program, { type, launch, kill, acknowledged }: Event): void {
    program.idleSince = this.#engine.now;
    if (launch) this.#run(program, launch.task);
    if (kill) this.#over(program, kill.taskId.value, TASK_KILLED);
    if (acknowledged) {
      const task = program.tasks.get(acknowledged.taskId.value);
      const uuid = String(acknowledged.uuid);
      if (task === undefined) return;
      task.unacknowledged = task.unacknowledged.filter((status) => String(status.uuid) !== uuid);
      task.heardOf = true;
    }
    if (type !== EventType.SHUTDOWN) return;
    for (const taskId of program.tasks.keys()) this.#over(program, taskId, TASK_KILLED);
    this.#engine.after(this.#dice.between(5, 500), undefined, () => this.#leave(program));
  }

  #run(program: Program, info: mesos.v1.TaskInfo.$Properties): void {
    const { frameworkId, agentId } = program.start;
    const taskId = info.taskId.value;
    const [, runMs, code] = /^run (\d+) (\d+)$/.exec(Buffer.from(info.data ?? []).toString()) ?? [];
    const task: Task = { info, unacknowledged: [], heardOf: false, over: false, cancel: () => {} };
    program.tasks.set(taskId, task);
    this.#observer.onTold({ frameworkId, taskId, agentId });
    const end = code === '0' ? TASK_FINISHED : TASK_FAILED;
    // It may take its time to begin.
    task.cancel = this.#engine.after(this.#dice.between(1, 800), undefined, () => {
      this.#say(program, taskId, TASK_RUNNING);
      task.cancel = this.#engine.after(Number(runMs ?? 0), undefined, () => this.#over(program, taskId, end));
    });
  }

  #over(program: Program, taskId: string, state: mesos.v1.TaskState): void {
    const task = program.tasks.get(taskId);
    if (task === undefined || task.over || program.ended) return;
    task.over = true;
    task.cancel();
    program.idleSince = this.#engine.now;
    this.#say(program, taskId, state);
  }

  #say(program: Program, taskId: string, state: mesos.v1.TaskState): void {
    const { containerId, frameworkId, executorId } = program.start;
    const uuid = this.#dice.bytes(16);
    const status = { taskId: { value: taskId }, state, source: SOURCE_EXECUTOR, uuid };
    program.tasks.get(taskId)?.unacknowledged.push(status);
    if (!program.connected) return;
    const ids = { executorId: { value: executorId }, frameworkId: { value: frameworkId } };
    this.#input({ kind: 'executor_call', containerId, call: { ...ids, type: CallType.UPDATE, update: { status } } });
  }

  /** Looks from time to time whether it is needed. */
  #watch(program: Program, stream: number): void {
    this.#engine.after(idleMs / 4, undefined, () => {
      if (program.ended || program.stream !== stream) return;
      const busy = [...program.tasks.values()].some(({ over, unacknowledged }) => !over || unacknowledged.length > 0);
      if (!busy && this.#engine.now - program.idleSince > idleMs) this.#leave(program);
      else if (!program.connected) this.#subscribe(program);
      this.#watch(program, stream);
    });
  }

  #leave(program: Program): void {
    if (!program.ended) this.exit(program.start.containerId, 0);
  }
}
