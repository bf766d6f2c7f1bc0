import type { mesobus } from '@mesobus/protos';
import { type AgentEntry, type ExecutorEntry, executorKeyOf, isTerminal } from '@mesobus/registry/core';
import { fromWire, type Resources, unallocate } from '@mesobus/sdk/resources';
import type { AgentTurn } from './agent-turn.ts';
import { agentChanged } from './feed.ts';
import { findLiveFramework } from './frameworks.ts';
import { failureEvent } from './statuses.ts';
import type { Turn } from './turn.ts';

type RecordOf = mesobus.v1.Record.$Properties;

/** The record that a run of an executor is over, and holds nothing any more. */
export const executorEnded = (
  { id: agentId }: AgentEntry,
  { frameworkId, executorId, runNumber: number }: ExecutorEntry,
): RecordOf => ({
  executor: { frameworkId, agentId, info: { executorId: { value: executorId } }, run: { number }, ended: true },
});

/** All of an agent's, or one framework's of them. */
export const executorsEnded = (agent: AgentEntry, frameworkId?: string): RecordOf[] =>
  [...agent.executors.values()]
    .filter((executor) => frameworkId === undefined || executor.frameworkId === frameworkId)
    .map((executor) => executorEnded(agent, executor));

/** An agent says that executors have ended. It may say so twice; that of a run which is not the latest is void. */
export function onExecutorExits(turn: AgentTurn, agent: AgentEntry, exits: readonly mesobus.v1.ExecutorExit[]): void {
  for (const { frameworkId, executorId, runNumber, status, asOf, unstarted } of exits) {
    const executor = agent.executors.get(executorKeyOf(frameworkId, executorId));
    if (executor?.runNumber !== runNumber) continue;
    if (asOf > 0 && isNamedAbove(agent, executor, asOf)) continue;
    turn.commit([executorEnded(agent, executor)]);
    agentChanged(turn.state, agent.id);
    if (!unstarted) turn.tell(frameworkId, [failureEvent(agent.id, { executorId, status })], 'committed');
  }
  turn.answer('barrier', { executorExitsTaken: { lastCommand: agent.lastCommand } });
}

/** Whether a live task was launched on a run by a command above a number. */
function isNamedAbove({ tasks }: AgentEntry, { frameworkId, runNumber }: ExecutorEntry, number: number): boolean {
  for (const task of tasks) {
    if (task.commandNumber <= number || task.frameworkId !== frameworkId || isTerminal(task.state)) continue;
    if (task.launched.run?.number === runNumber) return true;
  }
  return false;
}

export interface ExecutorsCompared {
  readonly records: readonly RecordOf[];
  /** By the numbers of their runs: the agent should end them. */
  readonly unknown: readonly number[];
}

/**
 * Compares the executors that an agent reports with the log. One that the agent has started and does not report has ended;
 * one that lives on, and was given up while the agent was out of reach, is back if there is room for it.
 */
export function compareExecutors(
  { state }: Turn,
  agent: AgentEntry,
  { executors, cursor }: Pick<mesobus.v1.RegisterAgent, 'executors' | 'cursor'>,
  hasRoom: (resources: Resources) => boolean,
): ExecutorsCompared {
  const reported = new Set(
    executors.map(({ frameworkId, run }) => executorKeyOf(frameworkId, String(run?.number ?? 0))),
  );
  const isReported = ({ frameworkId, runNumber }: ExecutorEntry): boolean =>
    reported.has(executorKeyOf(frameworkId, String(runNumber)));
  const lost = [...agent.executors.values()].filter(
    (executor) => !isReported(executor) && !isNamedAbove(agent, executor, cursor),
  );
  const records = lost.map((executor) => executorEnded(agent, executor));
  const unknown: number[] = [];
  for (const { frameworkId, info, run, ended } of executors) {
    if (ended || !run) continue;
    const known = agent.executors.get(executorKeyOf(frameworkId, info?.executorId?.value ?? ''));
    if (known?.runNumber === run.number && findLiveFramework(state, frameworkId)) continue;
    const returns = known === undefined && info && findLiveFramework(state, frameworkId);
    if (returns && hasRoom(resourcesOf(info)))
      records.push({ executor: { frameworkId, agentId: agent.id, info, run } });
    else unknown.push(run.number);
  }
  return { records, unknown };
}

function resourcesOf({ resources }: mesobus.v1.AgentExecutor['info'] & object): Resources {
  return unallocate(fromWire(resources));
}
