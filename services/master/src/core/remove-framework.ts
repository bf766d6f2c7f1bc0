import { mesobus, mesos } from '@mesobus/protos';
import { type FrameworkEntry, isTerminal, type TaskEntry } from '@mesobus/registry/core';
import { agentLinkOf } from './agents.ts';
import { announceCommands, decideEnd } from './commands.ts';
import { executorsEnded } from './executors.ts';
import { agentChanged, frameworkChanged } from './feed.ts';
import { dropOffers } from './offers.ts';
import { acknowledgeToAgent } from './on-operation-updates.ts';
import { isPending, operationRemoved } from './operations.ts';
import type { State } from './state.ts';
import { subscriberKey } from './state.ts';
import { errorEvent, masterStatus } from './statuses.ts';
import type { Turn } from './turn.ts';

const { TASK_KILLED } = mesos.v1.TaskState;
const { REASON_FRAMEWORK_REMOVED } = mesos.v1.TaskStatus.Reason;
const { REMOVED } = mesobus.v1.FrameworkRecord.Lifecycle;

const reasons = {
  scheduler: 'it was torn down by its scheduler',
  operator: 'it was torn down by an operator',
  timeout: 'its scheduler did not come back within its failover timeout',
} as const;

/**
 * Removes a framework: its tasks are killed without a word to it, its offers and its stream end, its id is used up. The
 * record of the framework itself comes last, so that after a crash whoever wanted it removed finds it still there.
 */
export function removeFramework(turn: Turn, framework: FrameworkEntry, by: keyof typeof reasons): void {
  const why = reasons[by];
  const { state } = turn;
  const link = state.frameworks.get(framework.id);
  if (link !== undefined) dropOffers(turn, link.offers);

  for (const [agentId, tasks] of runningByAgent(state, framework)) endOnAgent(turn, framework, agentId, tasks);
  const { frameworkId, principal, registeredAtMs, info } = framework.record;
  const record = { frameworkId, principal, registeredAtMs, info, lifecycle: REMOVED, removedAtMs: turn.at };
  forgetOperations(turn, framework);
  forgetSubscriber(state, framework);
  turn.commit([{ framework: record }]);
  state.completedFrameworks.add(framework.id);
  forgetOldest(turn);

  // A scheduler that asked for it is not told what it knows; any other would wait for offers for ever.
  if (link !== undefined && by !== 'scheduler') {
    turn.tellStream(link.stream, [errorEvent(`Framework has been removed: ${why}`)], 'committed');
  }
  if (link !== undefined) turn.emit({ kind: 'close_stream', when: 'committed', to: link.stream });
  state.frameworks.delete(framework.id);
  state.filters.lift(framework.id);
  frameworkChanged(state, framework.id);
  turn.log('info', 'framework removed', { framework: framework.id, why });
}

/** Nobody hears any more what came of its operations; those that are under way go on. */
function forgetOperations(turn: Turn, framework: FrameworkEntry): void {
  const done = [...framework.operations.values()].filter((record) => !isPending(record));
  turn.commit(done.map(operationRemoved));
  for (const record of done) acknowledgeToAgent(turn, record);
}

/** Its tasks are ended: what an agent still says of them is answered as for any framework that is not there. */
function forgetOldest(turn: Turn): void {
  const { completedFrameworks, config } = turn.state;
  for (const frameworkId of completedFrameworks) {
    if (completedFrameworks.size <= config.maxCompletedFrameworks) return;
    completedFrameworks.delete(frameworkId);
    turn.commit([{ frameworkForgotten: { frameworkId } }], 'riding');
  }
}

/** Agents on which there are executors of it alone have no tasks. */
function runningByAgent({ ledger }: State, framework: FrameworkEntry): Map<string, TaskEntry[]> {
  const byAgent = new Map<string, TaskEntry[]>();
  for (const task of framework.tasks.values()) {
    if (isTerminal(task.state)) continue;
    const tasks = byAgent.get(task.agentId);
    if (tasks === undefined) byAgent.set(task.agentId, [task]);
    else tasks.push(task);
  }
  for (const { id, executors } of ledger.agents.values()) {
    if (executors.size === 0 || byAgent.has(id)) continue;
    const isThere = [...executors.values()].some(({ frameworkId }) => frameworkId === framework.id);
    if (isThere) byAgent.set(id, []);
  }
  return byAgent;
}

function endOnAgent(turn: Turn, framework: FrameworkEntry, agentId: string, tasks: readonly TaskEntry[]): void {
  const agent = turn.state.ledger.agents.get(agentId);
  const commandNumber = agent === undefined ? 0 : agent.lastCommand + 1;
  for (const task of tasks) decideEnd(turn.state, task, commandNumber, 0n);
  const ends = tasks.map((task) => ({ taskChanged: killed(task, turn.at) }));
  if (agent === undefined) {
    turn.commit(ends);
    return;
  }
  const command = { number: commandNumber, shutdownFramework: { frameworkId: framework.id } };
  turn.commit([
    ...ends,
    ...executorsEnded(agent, framework.id),
    { commandIssued: { agentId, command, issuedAtMs: turn.at } },
  ]);
  announceCommands(turn, agent, agentLinkOf(turn.state, agent));
  agentChanged(turn.state, agentId);
}

function killed(task: TaskEntry, at: number): mesobus.v1.TaskChanged.$Properties {
  const { frameworkId, taskId, agentId, commandNumber, updateNumber } = task;
  const message = 'The framework was removed';
  const status = { taskId, state: TASK_KILLED, reason: REASON_FRAMEWORK_REMOVED, message, agentId };
  return {
    task: { frameworkId, taskId },
    commandNumber,
    state: TASK_KILLED,
    status: masterStatus(status, at),
    updateNumber,
    acknowledgedNumber: updateNumber,
    changedAtMs: at,
  };
}

function forgetSubscriber(state: State, { id, record }: FrameworkEntry): void {
  const instances = [record.instanceId, ...record.supersededInstances];
  for (const key of [
    ...instances.map((instanceId) => subscriberKey(record.principal, 'instance', instanceId)),
    subscriberKey(record.principal, 'call', record.subscribeCallId),
  ]) {
    if (state.subscribers.get(key) === id) state.subscribers.delete(key);
  }
}
