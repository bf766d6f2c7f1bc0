// An agent that is silent is unreachable, and back with its tasks; operators drain agents and declare them gone.
import type { AgentSummary, Operator } from '@mesobus/sdk/operator';
import type { TaskStatus } from '@mesobus/sdk/scheduler';
import test, { type ExecutionContext } from 'ava';
import { clusterFor, envOf, mesobus, operatorFor, runOne } from './in-cluster.ts';

const shortTimers = { MESOBUS_AGENT_PING_TIMEOUT: '500ms', MESOBUS_MAX_AGENT_PING_TIMEOUTS: '6' };

/** A cluster whose one agent runs a task that goes on until it is ended. */
async function napping(t: ExecutionContext) {
  const cluster = await clusterFor(t, { restart: false, env: shortTimers });
  const operator = await operatorFor(t, cluster);
  const { scheduler, statuses, offers } = await runOne(t, cluster, { id: 'nap', command: 'exec sleep 600' });
  const { agentId } = await statuses.find(({ state }) => state === 'TASK_RUNNING');
  if (agentId === undefined) throw new Error('a task runs on no agent');
  const change = async (...args: string[]) => {
    const { exitCode, stderr } = await mesobus(t, ['agent', ...args], envOf(cluster));
    t.is(exitCode, 0, stderr);
  };
  return { cluster, operator, scheduler, statuses, offers, agentId, change };
}

/** The agent of an id, as soon as it is as it should be; it is asked for until the test times out. */
async function agentOnce(operator: Operator, id: string, is: (agent: AgentSummary) => boolean): Promise<AgentSummary> {
  for (;;) {
    const [agent] = await operator.agents(id);
    if (agent !== undefined && is(agent)) return agent;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const said = ({ state, reason }: TaskStatus): string => `${state} ${reason}`;

test.serial('an agent that hangs is unreachable; when it goes on, its task still runs', async (t) => {
  t.timeout(120_000);
  const { cluster, operator, statuses, agentId } = await napping(t);
  const pid = cluster.pidOf('agent-1') as number;
  process.kill(pid, 'SIGSTOP');
  try {
    const lost = await statuses.find(({ state }) => state === 'TASK_UNREACHABLE');
    t.is(said(lost), 'TASK_UNREACHABLE REASON_AGENT_REMOVED');
    t.is((await agentOnce(operator, agentId, () => true)).lifecycle, 'unreachable');
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  await statuses.find((status) => said(status) === 'TASK_RUNNING REASON_AGENT_REREGISTERED');
  const back = await agentOnce(operator, agentId, ({ lifecycle }) => lifecycle === 'admitted');
  t.is(back.tasks, 1);
});

test.serial('a drained agent has no tasks and gets none, until it is reactivated', async (t) => {
  t.timeout(120_000);
  const { operator, scheduler, statuses, offers, agentId, change } = await napping(t);
  await change('drain', 'agent-1', '--grace', '1s');
  t.is(said(await statuses.find(({ ended }) => ended)), 'TASK_KILLED REASON_AGENT_DRAINING');
  const drained = await agentOnce(operator, agentId, (agent) => agent.drained);
  t.true(drained.deactivated);

  const offersBefore = offers.seen.length;
  await change('reactivate', 'agent-1');
  await scheduler.revive();
  await offers.find((offer) => offers.seen.indexOf(offer) >= offersBefore);
  t.is((await agentOnce(operator, agentId, () => true)).deactivated, false);
});

test.serial('an agent that is drained to be gone says so of its tasks, and is gone after them', async (t) => {
  t.timeout(120_000);
  const { operator, statuses, agentId, change } = await napping(t);
  await change('drain', 'agent-1', '--mark-gone');
  t.is(said(await statuses.find(({ ended }) => ended)), 'TASK_GONE_BY_OPERATOR REASON_AGENT_DRAINING');
  t.true((await agentOnce(operator, agentId, ({ lifecycle }) => lifecycle === 'gone')).drained);
});

test.serial('an agent that is declared gone ends its tasks and itself', async (t) => {
  t.timeout(120_000);
  const { cluster, operator, statuses, agentId, change } = await napping(t);
  await change('gone', agentId);
  const ended = await statuses.find((status) => status.ended);
  t.is(said(ended), 'TASK_GONE_BY_OPERATOR REASON_AGENT_REMOVED_BY_OPERATOR');
  t.is((await agentOnce(operator, agentId, () => true)).lifecycle, 'gone');
  while (cluster.pidOf('agent-1') !== undefined) await new Promise((resolve) => setTimeout(resolve, 50));
});
