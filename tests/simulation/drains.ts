import { mesobus } from '@mesobus/protos';
import { isCompleted, isTerminal, type Ledger, type TaskEntry } from '@mesobus/registry/core';
import type { Invariant } from './invariants.ts';
import type { AgentHost } from './world/agent-host.ts';
import type { World } from './world/world.ts';

type AgentRecord = mesobus.v1.AgentRecord;

const { SUBSCRIBED } = mesobus.v1.FrameworkRecord.Lifecycle;
const { GONE, UNREACHABLE } = mesobus.v1.AgentRecord.Lifecycle;

/** What simulated tasks ask for. */
const graceOfTasksMs = 2_000;
/** For slow disks and launchers. */
const slackMs = 4_000;

/** Whether an agent may have no offers and get no tasks. */
export const isOut = ({ deactivated, drain, lifecycle }: AgentRecord): boolean =>
  deactivated || drain !== null || lifecycle === GONE;

interface Drain {
  /** Of its command. */
  readonly number: number;
  readonly graceMs: number;
}

/** What must hold of agents that an operator takes out. */
export class Drains {
  /** Called once, when an agent with tasks begins to drain. */
  onNextBegun: (() => void) | undefined;
  readonly #world: World;
  readonly #fail: (invariant: Invariant, what: string) => void;
  /** By agent id: its latest drain. */
  readonly #drains = new Map<string, Drain>();
  /** By agent id: who led when its drain began. */
  readonly #begunBy = new Map<string, string>();
  /** By registration key: the agent that is gone. */
  readonly #goneKeys = new Map<string, string>();
  /** By agent id: the latest process of it that has the drain, and which one. */
  readonly #told = new Map<string, string>();

  constructor(world: World, fail: (invariant: Invariant, what: string) => void) {
    this.#world = world;
    this.#fail = fail;
  }

  onDrainIssued(agentId: string, number: number, { maxGracePeriodMs }: mesobus.v1.DrainAgent): void {
    this.#drains.set(agentId, { number, graceMs: Math.min(graceOfTasksMs, maxGracePeriodMs || graceOfTasksMs) });
  }

  onLaunched({ agents }: Ledger, agentId: string, taskId: string): void {
    const record = agents.get(agentId)?.record;
    if (record !== undefined && isOut(record)) {
      this.#fail('out-is-out', `${taskId} is launched on ${agentId}, which is deactivated, drains or is gone`);
    }
  }

  /** @param ledger - before the record */
  onAgent(ledger: Ledger, record: AgentRecord, masterId: string): void {
    const { counters } = this.#world;
    const { agentId: id, lifecycle, registrationKey, drain, drained } = record;
    const before = ledger.agents.get(id)?.record;
    const goneId = this.#goneKeys.get(registrationKey);
    if (goneId !== undefined) this.#fail('gone-stays-gone', `${id} comes with the key of ${goneId}, which is gone`);
    if (lifecycle === GONE) this.#onGone(ledger, record, before);
    if (drain === null) {
      if (before?.drain) counters.add('drain taken back');
      return;
    }
    if (!before?.drain) this.#onBegun(ledger, id, masterId);
    const isGone = lifecycle === GONE && drain.markGone;
    if (before?.drained || !(isGone || (drained && lifecycle !== GONE))) return;
    for (const task of openTasks(ledger, id, isGone ? isEnded : isCompleted)) {
      this.#fail('drained-is-empty', `${id} is drained, and ${task.taskId} is in state ${task.state}`);
    }
    counters.add(isGone ? 'drained agent marked gone' : 'drain finished');
    if (this.#begunBy.get(id) !== masterId) counters.add('drain finished under another leader than began it');
  }

  #onBegun(ledger: Ledger, id: string, masterId: string): void {
    this.#begunBy.set(id, masterId);
    const { onNextBegun } = this;
    if (onNextBegun === undefined || openTasks(ledger, id, isCompleted).length === 0) return;
    this.onNextBegun = undefined;
    onNextBegun();
  }

  #onGone(ledger: Ledger, { agentId: id, registrationKey }: AgentRecord, before: AgentRecord | undefined): void {
    const { counters } = this.#world;
    this.#goneKeys.set(registrationKey, id);
    if (before?.lifecycle === UNREACHABLE) counters.add('agent marked gone while unreachable');
    for (const task of openTasks(ledger, id, isEnded)) {
      this.#fail('gone-stays-gone', `${id} is gone, and ${task.taskId} is in state ${task.state}`);
    }
    if (this.#world.agents.some((host) => runningOf(host, id).length > 0)) {
      counters.add('agent marked gone with tasks alive');
    }
  }

  /** An agent says how far it has come: of a drain among that it has so long to end its tasks. */
  onCursor(host: AgentHost, agentId: string, cursor: number): void {
    const drain = this.#drains.get(agentId);
    const told = `${host.process?.name} ${drain?.number}`;
    if (drain === undefined || cursor < drain.number || this.#told.get(agentId) === told) return;
    this.#told.set(agentId, told);
    this.#expectEnd(host, agentId, drain);
  }

  #expectEnd(host: AgentHost, agentId: string, drain: Drain): void {
    const { process } = host;
    const look = (): void => {
      const record = this.#world.witness.ledger.agents.get(agentId)?.record;
      if (!record?.drain || this.#drains.get(agentId) !== drain) return;
      if (!process?.resumedFor(slackMs) || host.disk.isFull) {
        this.#expectEnd(host, agentId, drain);
        return;
      }
      for (const { start } of runningOf(host, agentId)) {
        this.#fail('drain-ends-tasks', `${start.taskId} runs on ${host.name}, which has had its drain long enough`);
      }
    };
    this.#world.engine.after(drain.graceMs + slackMs, process, look);
  }
}

const isEnded = ({ state }: TaskEntry): boolean => isTerminal(state);

const runningOf = ({ containers }: AgentHost, agentId: string): AgentHost['containers']['running'] =>
  containers.running.filter(({ start }) => start.agentId === agentId && start.executor === undefined);

/** Tasks of frameworks that are still there. */
function openTasks({ agents, frameworks }: Ledger, agentId: string, isDone: (task: TaskEntry) => boolean): TaskEntry[] {
  const tasks = [...(agents.get(agentId)?.tasks ?? [])];
  return tasks.filter((task) => !isDone(task) && frameworks.get(task.frameworkId)?.record.lifecycle === SUBSCRIBED);
}
