import { mesobus } from '@mesobus/protos';
import { isCompleted } from '@mesobus/registry/core';
import type { World } from './world/world.ts';

/** What must be so some time after the faults have ended. */
export const restInvariants = {
  'one-leader': 'exactly one master leads',
  'work-gets-done': 'every framework has seen all of its work through [I3, I5]',
  'nothing-runs-on': 'nothing runs that nobody wants [I3]',
  'tasks-are-settled': 'every task has ended and its end is acknowledged [I3, I10]',
  'resources-come-home': 'nothing is held or offered any more [I1, I10]',
  'agents-are-settled': 'every agent is registered, has carried out its commands and has nothing to say [I10]',
  'removed-when-due': 'a framework whose scheduler never came back is removed [I10]',
  'operators-are-obeyed': 'what an operator has decided of an agent last is so: in or out, drained or gone [I6]',
} as const;

export type RestInvariant = keyof typeof restInvariants;

export interface Unrest {
  readonly invariant: RestInvariant;
  readonly what: string;
}

/** What is not yet at rest; empty if all is. */
export function unrestOf(world: World): Unrest[] {
  return [...masters(world), ...frameworks(world), ...agents(world), ...ledger(world), ...decisions(world)];
}

function* masters({ masters, witness }: World): Iterable<Unrest> {
  const leading = masters.filter(({ state, leadership }) => state !== undefined && leadership?.lease === 'fresh');
  if (leading.length !== 1) yield { invariant: 'one-leader', what: `${leading.length} masters lead` };
  for (const master of leading) {
    for (const offer of master.state?.offers.values() ?? []) {
      yield { invariant: 'resources-come-home', what: `offer ${offer.id} to ${offer.frameworkId} is open` };
    }
    if (master.leadership?.lastIndex !== witness.lastIndex) {
      yield { invariant: 'one-leader', what: `${master.name} is at entry ${master.leadership?.lastIndex}` };
    }
    for (const agent of master.state?.agents.values() ?? []) {
      if (!agent.connected) yield { invariant: 'agents-are-settled', what: `${agent.agentName} is not connected` };
    }
  }
}

function* frameworks({ frameworks, witness }: World): Iterable<Unrest> {
  for (const { name, memory, retired, plan } of frameworks) {
    if (retired) {
      const record = witness.ledger.frameworks.get(memory.frameworkId ?? '')?.record;
      const removed = record === undefined || record.lifecycle === mesobus.v1.FrameworkRecord.Lifecycle.REMOVED;
      if (!removed && plan.failoverTimeoutMs < 60_000)
        yield { invariant: 'removed-when-due', what: `${name} is still there` };
      continue;
    }
    if (memory.wanted.size > 0) {
      yield { invariant: 'work-gets-done', what: `${name} still has ${memory.wanted.size} tasks to launch` };
    }
    for (const { id, phase } of memory.launched.values()) {
      if (phase !== 'over')
        yield { invariant: 'work-gets-done', what: `${name} does not know what became of ${id} (${phase})` };
    }
  }
}

function* agents({ agents, witness }: World): Iterable<Unrest> {
  for (const { name, agent, containers } of agents) {
    for (const { start } of containers.running) {
      yield { invariant: 'nothing-runs-on', what: `${start.taskId} of ${start.frameworkId} runs on ${name}` };
    }
    const { tasks = 0, unacknowledged = 0 } = agent?.counts ?? {};
    if (!agent?.registered) yield { invariant: 'agents-are-settled', what: `${name} is not registered` };
    if (tasks > 0) yield { invariant: 'agents-are-settled', what: `${name} believes that ${tasks} tasks are alive` };
    if (unacknowledged > 0) {
      yield { invariant: 'agents-are-settled', what: `${unacknowledged} tasks of ${name} have unacknowledged updates` };
    }
    const entry = witness.ledger.agentsByName.get(name);
    if (entry === undefined) yield { invariant: 'agents-are-settled', what: `${name} was never admitted` };
    else if (entry.cursor !== entry.lastCommand) {
      const what = `${name} has carried out ${entry.cursor} of ${entry.lastCommand} commands`;
      yield { invariant: 'agents-are-settled', what };
    }
  }
}

function* ledger({ witness, frameworks }: World): Iterable<Unrest> {
  const abandoned = new Set(frameworks.filter(({ retired }) => retired).map(({ memory }) => memory.frameworkId));
  const { REMOVED } = mesobus.v1.FrameworkRecord.Lifecycle;
  for (const agent of witness.ledger.agents.values()) {
    for (const { frameworkId } of agent.holdings.values()) {
      if (abandoned.has(frameworkId) && witness.ledger.frameworks.get(frameworkId)?.record.lifecycle !== REMOVED)
        continue;
      yield { invariant: 'resources-come-home', what: `${frameworkId} holds something of ${agent.record.agentName}` };
    }
  }
  for (const framework of witness.ledger.frameworks.values()) {
    if (framework.record.lifecycle === REMOVED || abandoned.has(framework.id)) continue;
    for (const task of framework.tasks.values()) {
      if (isCompleted(task)) continue;
      const what = `${task.taskId} is in state ${task.state}, update ${task.updateNumber}, acknowledged ${task.acknowledgedNumber}`;
      yield { invariant: 'tasks-are-settled', what };
    }
  }
}

function* decisions({ operator, witness }: World): Iterable<Unrest> {
  const { GONE } = mesobus.v1.AgentRecord.Lifecycle;
  for (const [id, decided] of operator.decided) {
    const record = witness.ledger.agents.get(id)?.record;
    const isGone = record === undefined || record.lifecycle === GONE;
    const isSo = {
      active: !isGone && !record.deactivated && record.drain === null,
      deactivated: !isGone && record.deactivated && record.drain === null,
      drained: !isGone && record.deactivated && record.drained,
      gone: isGone,
      unknown: true,
    };
    if (isSo[decided]) continue;
    const is = isGone ? 'gone' : JSON.stringify({ deactivated: record.deactivated, drained: record.drained });
    yield { invariant: 'operators-are-obeyed', what: `${id} was to be ${decided}, and is ${is}` };
  }
}
