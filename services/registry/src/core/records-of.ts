import { mesobus, mesos } from '@mesobus/protos';
import {
  type AgentEntry,
  type FrameworkEntry,
  type Ledger,
  noCluster,
  type OwnLedger,
  type TaskEntry,
} from './ledger.ts';

const v1 = mesobus.v1;
type Properties = mesobus.v1.Record.$Properties;

/**
 * The records that make exactly this ledger out of an empty one, in an order in which none of them is void. They share
 * what the ledger holds: encode them or apply them, never change them.
 */
export function* recordsOf(readable: Ledger): Generator<mesobus.v1.Record> {
  for (const properties of factsOf(readable as OwnLedger)) yield new v1.Record(properties);
}

function* factsOf(ledger: OwnLedger): Generator<Properties> {
  if (ledger.cluster !== noCluster) yield clusterFact(ledger);
  for (const role of ledger.roles.values()) yield { role };
  if (ledger.maintenance !== undefined) yield { maintenance: ledger.maintenance };
  for (const { record } of ledger.frameworks.values()) yield { framework: record };
  for (const { record } of ledger.agents.values()) yield { agent: record };
  // Of an agent that was removed only its id counts, for as long as there are tasks of it.
  for (const agentId of ledger.retired.keys()) yield { agent: new v1.AgentRecord({ agentId }) };

  // A task id may have been used again: what has left the ledger goes before what is in it.
  const forgotten = forgottenFrameworks(ledger);
  for (const frameworkId of forgotten) yield { framework: new v1.FrameworkRecord({ frameworkId }) };
  for (const agent of ledger.agents.values()) yield* departedFacts(ledger, agent);
  for (const frameworkId of forgotten) {
    yield { framework: new v1.FrameworkRecord({ frameworkId, lifecycle: v1.FrameworkRecord.Lifecycle.REMOVED }) };
    yield { frameworkForgotten: { frameworkId } };
  }
  for (const framework of ledger.frameworks.values()) yield* launchFacts(framework);
  for (const framework of ledger.frameworks.values()) yield* changeFacts(framework);

  for (const agent of ledger.agents.values()) yield* commandFacts(agent);
  for (const agentId of ledger.retired.keys()) yield { agentRemoved: new v1.AgentRemoved({ agentId }) };
  for (const operation of ledger.operations.values()) yield { operation };
  for (const { record } of ledger.calls.values()) yield { callRecorded: record };
}

function clusterFact({ cluster }: Ledger): Properties {
  const { incarnation, minimumCapabilities, ...rest } = cluster;
  return {
    cluster: { clusterIncarnation: incarnation, minimumCapabilities: [...minimumCapabilities], ...rest },
  };
}

/** Frameworks that have left the ledger while an agent has not confirmed launches of theirs. */
function forgottenFrameworks(ledger: Ledger): Set<string> {
  const forgotten = new Set<string>();
  for (const { launches } of ledger.agents.values()) {
    for (const { frameworkId } of launches.values()) {
      if (!ledger.frameworks.has(frameworkId)) forgotten.add(frameworkId);
    }
  }
  return forgotten;
}

/** Launches above the agent's cursor whose tasks have left the ledger. */
function* departedFacts(ledger: Ledger, agent: AgentEntry): Generator<Properties> {
  for (const launch of agent.launches.values()) {
    for (const task of launch.group ?? [launch]) {
      if (ledger.frameworks.get(task.frameworkId)?.tasks.get(task.taskId) === task) continue;
      yield* launchFact(task);
      yield* changeFact(task);
      yield { taskRemoved: { task: keyOf(task), commandNumber: task.commandNumber } };
    }
  }
}

function* launchFacts(framework: FrameworkEntry): Generator<Properties> {
  for (const task of framework.tasks.values()) yield* launchFact(task);
}

/** The completed ones last, so that they are filed in their order. */
function* changeFacts(framework: FrameworkEntry): Generator<Properties> {
  for (const task of framework.tasks.values()) if (!framework.completed.has(task)) yield* changeFact(task);
  for (const task of framework.completed) yield* changeFact(task);
}

function* launchFact(task: TaskEntry): Generator<Properties> {
  yield { taskLaunched: task.launched };
  // Without a number: whether the agent has got it already is told by its cursor and its commands.
  if (task.killIssued) {
    yield { commandIssued: { agentId: task.agentId, command: { killTask: { task: keyOf(task) } } } };
  }
}

function* changeFact(task: TaskEntry): Generator<Properties> {
  const { commandNumber, state, status, updateNumber, acknowledgedNumber, changedAtMs } = task;
  const asLaunched = state === mesos.v1.TaskState.TASK_STAGING && status === undefined;
  const untouched = updateNumber === 0 && acknowledgedNumber === 0 && changedAtMs === task.launched.acceptedAtMs;
  if (asLaunched && untouched) return;
  const numbers = { commandNumber, updateNumber, acknowledgedNumber, changedAtMs };
  yield { taskChanged: { task: keyOf(task), state, ...numbers, ...(status !== undefined && { status }) } };
}

function* commandFacts(agent: AgentEntry): Generator<Properties> {
  for (const commandIssued of agent.commands.values()) yield { commandIssued };
  if (agent.cursor > 0) yield { commandsApplied: { agentId: agent.id, cursor: agent.cursor } };
}

const keyOf = ({ frameworkId, taskId }: TaskEntry): mesobus.v1.TaskKey.$Properties => ({ frameworkId, taskId });
