import assert from 'node:assert/strict';
import type { mesobus } from '@mesobus/protos';
import type { TaskEntry } from '@mesobus/registry/core';
import { add, equals, formatResources, noResources, type Resources, trySubtract } from '@mesobus/sdk/resources';
import test from 'ava';
import fc from 'fast-check';
import { availableOf } from '../src/core/index.ts';
import { CallType, Harness, launchOf, TaskState, task } from './harness.ts';

const agents = ['a1', 'a2'];
const instances = ['i1', 'i2'];
const ids = ['t1', 't2', 't3'];
const states = [TaskState.TASK_STARTING, TaskState.TASK_RUNNING, TaskState.TASK_FINISHED, TaskState.TASK_LOST];
const amounts = ['cpus:1', 'cpus:3;mem:100', 'cpus:4;mem:4096', 'mem:64;ports:[1-10]'];

const agentCalls = ['drainAgent', 'reactivateAgent', 'reactivateAgent', 'deactivateAgent', 'markAgentGone'] as const;

const pick = fc.nat({ max: 11 });
const action = fc.tuple(
  fc.constantFrom(
    'register',
    'register anew',
    'subscribe',
    'offer',
    'offer',
    'offer',
    'accept',
    'accept',
    'accept',
    'decline',
    'update',
    'update',
    'acknowledge',
    'kill',
    'teardown',
    'probe',
    'tick',
    'heartbeat',
    'unregister',
    'answer',
    'commit',
    'hold',
    'suppress',
    'revive',
    'away',
    'agent call',
  ),
  pick,
  pick,
  pick,
);
type Action = readonly [string, number, number, number];

const of = <T>(list: readonly T[], n: number): T | undefined => list[n % Math.max(1, list.length)];

/** As an agent says it that still has the task: nobody is out of its own reach. */
function reportOf({ frameworkId, taskId, commandNumber, state }: TaskEntry): mesobus.v1.AgentTask.$Properties {
  const isAway = state === TaskState.TASK_UNREACHABLE;
  return { frameworkId, taskId, commandNumber, state: isAway ? TaskState.TASK_RUNNING : state };
}

function act(h: Harness, [what, x, y, z]: Action): void {
  const agentName = of(agents, x) as string;
  const frameworkId = of([...h.state.ledger.frameworks.keys()], y) ?? 'nobody';
  const agentId = of([...h.state.ledger.agents.keys()], x) ?? 'nobody';
  const offerId = of([...h.state.offers.keys()], z) ?? 'none';
  const taskId = of(ids, z) as string;
  const { instanceId = 'i1', generation = 1 } = h.state.ledger.frameworks.get(frameworkId)?.record ?? {};
  const who = { frameworkId, instanceId, generation };
  const total = 'cpus:4;mem:4096;ports:[1-100]';
  const capabilities = [{ type: 7 }]; // AGENT_DRAINING
  if (what === 'register') {
    const known = h.state.ledger.agentsByName.get(agentName);
    const tasks = z > 9 ? [] : [...(known?.tasks ?? [])].map(reportOf);
    h.register(
      agentName,
      { total, capabilities, cursor: z % 3 === 0 ? 0 : (known?.lastCommand ?? 0), tasks } as never,
      `n${z > 9 ? 2 : 1}`,
    );
  } else if (what === 'register anew' && z > 10) h.register(agentName, { total, registrationKey: `k${z}` } as never);
  else if (what === 'subscribe')
    h.subscribe({}, { instanceId: of(instances, z) as string, ...(y % 2 === 0 ? {} : { frameworkId }) });
  else if (what === 'offer') h.offer(frameworkId, agentId, of(amounts, z));
  else if (what === 'accept') {
    const offer = h.state.offers.get(offerId);
    const owner = h.state.ledger.frameworks.get(offer?.frameworkId ?? frameworkId)?.record;
    const onAgent = offer?.agentId ?? 'nobody';
    const tasks = [task(taskId, onAgent, { ask: of(amounts, x) as string }), task(of(ids, y) as string, onAgent)];
    const accept = { offerIds: [{ value: offerId }], operations: [launchOf(tasks)] };
    h.call(owner ?? who, { type: CallType.ACCEPT, accept });
  } else if (what === 'decline') h.call(who, { type: CallType.DECLINE, decline: { offerIds: [{ value: offerId }] } });
  else if (what === 'update')
    h.update(agentName, frameworkId, taskId, 1 + (x % 3), of(states, y) as (typeof states)[number]);
  else if (what === 'acknowledge') {
    h.call(who, {
      type: CallType.ACKNOWLEDGE,
      acknowledge: {
        agentId: { value: agentId },
        taskId: { value: taskId },
        uuid: new Uint8Array(16).fill(49 + (x % 3)),
      },
    });
  } else if (what === 'kill') h.call(who, { type: CallType.KILL, kill: { taskId: { value: taskId } } });
  else if (what === 'teardown' && z > 10) h.call(who, { type: CallType.TEARDOWN });
  else if (what === 'probe') h.step({ kind: 'stream_probed', frameworkId, instanceId, alive: z > 1 });
  else if (what === 'tick') h.tick(of([10, 10, 100, 100, 1_000, 1_000, 6_000, 31_000], z));
  else if (what === 'away') h.pass(32_000, z % 2 === 0 ? [] : [agentName]);
  else if (what === 'agent call') h.operateOnAgent(of(agentCalls, z) as (typeof agentCalls)[number], agentId);
  else if (what === 'heartbeat') h.heartbeat(agentName);
  else if (what === 'unregister' && z > 10) h.request(agentName, { agentId, unregister: {} });
  else if (what === 'answer') h.answerCommands(agentId, y);
  else if (what === 'commit') h.commit();
  else if (what === 'hold') h.autoCommit = z > 2;
  else if (what === 'suppress' && z > 8) h.call(who, { type: CallType.SUPPRESS });
  else if (what === 'revive') h.call(who, { type: CallType.REVIVE });
}

/** I1 and I2: what is available, offered and allocated is the agent's total, and nothing is in two offers. */
function assertBalanced(h: Harness): void {
  for (const [id, agent] of h.state.ledger.agents) {
    let held: Resources = noResources;
    const claims = [...agent.holdings.values(), ...(h.state.agents.get(id)?.offers ?? [])];
    let rest: Resources | undefined = agent.total;
    for (const { resources: claim } of claims) {
      held = add(held, claim);
      rest = rest && trySubtract(rest, claim);
    }
    assert.ok(rest !== undefined, `agent ${id} holds ${formatResources(held)} of ${formatResources(agent.total)}`);
    assert.ok(equals(add(availableOf(h.state, agent), held), agent.total), `the books of agent ${id} do not balance`);
  }
}

function assertIndexed(h: Harness): void {
  let ofAgents = 0;
  let ofFrameworks = 0;
  for (const { offers } of h.state.agents.values()) ofAgents += offers.size;
  for (const { offers } of h.state.frameworks.values()) ofFrameworks += offers.size;
  assert.deepEqual([ofAgents, ofFrameworks], [h.state.offers.size, h.state.offers.size]);
}

/** The commands of an agent have no gaps, and no task id runs under two of them. */
function assertNumbered(h: Harness): void {
  const last = new Map<string, number>();
  for (const { taskLaunched, commandIssued, commandsApplied } of h.records) {
    if (commandsApplied)
      last.set(commandsApplied.agentId, Math.max(last.get(commandsApplied.agentId) ?? 0, commandsApplied.cursor));
    const agentId = taskLaunched?.agentId ?? commandIssued?.agentId;
    if (agentId === undefined) continue;
    const number = taskLaunched?.commandNumber ?? commandIssued?.command?.number ?? 0;
    assert.equal(number, (last.get(agentId) ?? 0) + 1, `a command of agent ${agentId} is not the next`);
    last.set(agentId, number);
  }
}

test('whatever comes in, nothing throws, books balance, indices agree, commands have no gaps', (t) => {
  const law = fc.property(fc.array(action, { minLength: 60, maxLength: 150, size: 'max' }), (actions) => {
    const h = new Harness();
    h.framework();
    h.register('a1', { total: 'cpus:4;mem:4096;ports:[1-100]' } as never);
    for (const one of actions) {
      act(h, one);
      assertBalanced(h);
      if (one[1] === 0) h.feedOf();
    }
    assertIndexed(h);
    assertNumbered(h);
  });
  t.notThrows(() => fc.assert(law, { numRuns: 80 }));
});
