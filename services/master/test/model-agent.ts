import assert from 'node:assert/strict';
import type { mesobus, mesos } from '@mesobus/protos';
import { isTerminal } from '@mesobus/registry/core';
import { agentRepliesIn, type Harness, type Sent, TaskState } from './harness.ts';

const AGENT_DRAINING = 7;

interface Run {
  readonly frameworkId: string;
  readonly taskId: string;
  readonly commandNumber: number;
  state: mesos.v1.TaskState;
  /** Made, and not acknowledged. */
  readonly pending: { readonly number: number; readonly state: mesos.v1.TaskState; readonly uuid: Uint8Array }[];
  latestNumber: number;
}

/** An agent as the protocol wants it, without processes: what it has taken outlives its restarts. */
export class ModelAgent {
  readonly name: string;
  readonly runs = new Map<number, Run>();
  /** Every launch that was ever started here. */
  readonly started = new Set<string>();
  agentId = '';
  cursor = 0;
  incarnation = 1;
  /** Messages to and from it are lost. */
  isCut = false;
  isShutDown = false;
  #uuids = 0;
  #registers = false;

  constructor(name: string) {
    this.name = name;
  }

  get #isThere(): boolean {
    return !this.isCut && !this.isShutDown;
  }

  register(h: Harness): void {
    if (!this.#isThere) return;
    this.#registers = false;
    const tasks = [...this.runs.values()].map(({ frameworkId, taskId, commandNumber, state, latestNumber }) => {
      return { frameworkId, taskId, commandNumber, state, updateNumber: latestNumber };
    });
    const register = { cursor: this.cursor, tasks, capabilities: [{ type: AGENT_DRAINING }], total: 'cpus:4;mem:4096' };
    const sent = h.register(this.name, register as never, `n${this.incarnation}`);
    this.obey(h, sent);
    const [reply] = agentRepliesIn(sent);
    if (!reply?.registered) return;
    this.agentId = reply.registered.agentId ?? '';
    for (const { commandNumber } of reply.registered.unknownTasks ?? []) this.#end(this.runs.get(commandNumber ?? 0));
    this.tell(h);
  }

  beat(h: Harness): void {
    if (!this.#isThere) return;
    const beat = { agentId: this.agentId, incarnation: `n${this.incarnation}`, cursor: this.cursor };
    this.obey(h, h.heartbeat(this.name, beat));
    if (this.#registers) this.register(h);
  }

  /** Takes what a master has sent to it. */
  obey(h: Harness, sent: readonly Sent[]): void {
    for (const effect of sent) {
      if (effect.kind === 'refuse' && effect.code === 'agent_gone' && effect.token === `agent ${this.name}`)
        this.#shutDown();
      if (effect.kind !== 'commands' || effect.agentName !== this.name || !this.#isThere) continue;
      const { agentId, incarnation, commands } = effect.message;
      if (incarnation !== `n${this.incarnation}`) continue;
      if (agentId === '') this.#registers = true;
      else if (this.agentId === '' || agentId === this.agentId) {
        this.agentId = agentId ?? '';
        for (const command of commands ?? []) this.#take(command);
        const answered = { kind: 'commands_answered', agentId: this.agentId, cursor: this.cursor } as const;
        this.obey(h, h.step({ ...answered, incarnation: incarnation ?? '' }));
        this.tell(h);
      }
    }
  }

  #take(command: mesobus.v1.AgentCommand.$Properties): void {
    const { number = 0, acknowledgeUpdate, shutdownAgent } = command;
    if (acknowledgeUpdate) this.#acknowledged(acknowledgeUpdate);
    if (shutdownAgent) this.#shutDown();
    if (number !== this.cursor + 1) return;
    this.cursor = number;
    const { runTask, killTask, drainAgent, shutdownFramework } = command;
    if (runTask) this.#start(runTask.framework?.id?.value ?? '', runTask.task?.taskId?.value ?? '', number);
    if (drainAgent) for (const run of this.runs.values()) this.#end(run);
    if (shutdownFramework) {
      for (const run of this.runs.values()) if (run.frameworkId === shutdownFramework.frameworkId) this.#end(run);
    }
    if (killTask) this.#kill(killTask, number);
  }

  #start(frameworkId: string, taskId: string, commandNumber: number): void {
    const key = `${frameworkId} ${taskId} ${commandNumber}`;
    assert.ok(!this.started.has(key), `${key} was started twice`);
    this.started.add(key);
    const run: Run = {
      frameworkId,
      taskId,
      commandNumber,
      state: TaskState.TASK_STAGING,
      pending: [],
      latestNumber: 0,
    };
    this.runs.set(commandNumber, run);
    this.#update(run, TaskState.TASK_RUNNING);
  }

  #kill({ task, unlaunched }: mesobus.v1.KillTask.$Properties, commandNumber: number): void {
    const frameworkId = task?.frameworkId ?? '';
    const taskId = task?.taskId ?? '';
    const known = [...this.runs.values()].filter((run) => run.frameworkId === frameworkId && run.taskId === taskId);
    for (const run of known) this.#end(run);
    if (known.length > 0) return;
    const state = TaskState.TASK_STAGING;
    const run: Run = { frameworkId, taskId, commandNumber, state, pending: [], latestNumber: 0 };
    this.runs.set(commandNumber, run);
    this.#update(run, unlaunched?.state ?? TaskState.TASK_KILLED);
  }

  finish(h: Harness, index: number): void {
    const run = [...this.runs.values()][index];
    if (run === undefined || isTerminal(run.state) || this.isShutDown) return;
    this.#update(run, TaskState.TASK_FINISHED);
    this.tell(h);
  }

  #end(run: Run | undefined): void {
    if (run !== undefined && !isTerminal(run.state)) this.#update(run, TaskState.TASK_KILLED);
  }

  #update(run: Run, state: mesos.v1.TaskState): void {
    this.#uuids += 1;
    const uuid = new Uint8Array(16).fill(1);
    new DataView(uuid.buffer).setUint32(0, this.#uuids);
    run.latestNumber += 1;
    run.state = state;
    run.pending.push({ number: run.latestNumber, state, uuid });
  }

  /** Sends all updates that are not acknowledged; again and again, until they are. */
  tell(h: Harness): void {
    if (!this.#isThere) return;
    const updates = [...this.runs.values()].flatMap(({ frameworkId, taskId, commandNumber, state, pending }) =>
      pending.map((update) => ({
        frameworkId,
        commandNumber,
        number: update.number,
        latestState: state,
        status: { taskId: { value: taskId }, state: update.state, uuid: update.uuid, agentId: { value: this.agentId } },
      })),
    );
    if (updates.length === 0) return;
    const incarnation = `n${this.incarnation}`;
    const sent = h.request(this.name, { agentId: this.agentId, incarnation, taskUpdates: { updates } });
    if (agentRepliesIn(sent)[0]?.reregisterNeeded) this.#registers = true;
    this.obey(h, sent);
  }

  #acknowledged({ task, uuid }: mesobus.v1.AcknowledgeUpdate.$Properties): void {
    for (const [number, run] of this.runs) {
      const [first] = run.pending;
      const isThis = run.frameworkId === task?.frameworkId && run.taskId === task?.taskId;
      if (!isThis || first === undefined || Buffer.compare(first.uuid, uuid ?? new Uint8Array()) !== 0) continue;
      run.pending.shift();
      if (isTerminal(run.state) && run.pending.length === 0) this.runs.delete(number);
    }
  }

  #shutDown(): void {
    this.isShutDown = true;
    this.runs.clear();
  }

  /** Another process with what the one before had on its disk. */
  restart(): void {
    this.incarnation += 1;
    this.#registers = true;
  }

  live(): Run[] {
    return [...this.runs.values()].filter(({ state }) => !isTerminal(state));
  }
}
