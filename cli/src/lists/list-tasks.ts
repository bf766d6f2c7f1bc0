import type { AgentSummary, FrameworkSummary, Operator, TaskSummary } from '@mesobus/sdk/operator';
import { isEndState } from '@mesobus/sdk/scheduler';
import { findByPrefix } from '../find-by-prefix.ts';
import { ageOf, numberOf, shortened } from '../output/humane.ts';
import type { Column } from '../output/table.ts';

/** A task as `mesobus ps` shows it. */
export interface TaskRow {
  readonly id: string;
  readonly name: string;
  readonly frameworkId: string;
  readonly agentId: string;
  /** Empty if the agent is gone. */
  readonly agentName: string;
  readonly role: string;
  readonly state: string;
  readonly ended: boolean;
  /** It stands still, at somebody's wish. */
  readonly paused: boolean;
  /** In Mesos units. */
  readonly resources: { readonly cpus: number; readonly mem: number; readonly disk: number; readonly gpus: number };
  /** ISO 8601. */
  readonly launchedAt: string;
  /** Of the latest status; may be empty. */
  readonly message: string;
}

export interface TaskListOptions {
  /** Ended ones too, as long as they are known. */
  readonly all?: boolean | undefined;
  /** Id or name, or the beginning of one. */
  readonly framework?: string | undefined;
  /** Id or name, or the beginning of one. */
  readonly agent?: string | undefined;
}

/** @throws {CommandError} the framework or the agent is unknown or ambiguous */
export async function listTasks(operator: Operator, options: TaskListOptions): Promise<TaskRow[]> {
  const agents = await operator.agents();
  const agent = options.agent === undefined ? undefined : findAgent(agents, options.agent);
  const framework = options.framework === undefined ? undefined : await findFramework(operator, options.framework);
  const filter = {
    includeEnded: options.all === true,
    ...(agent !== undefined && { agentId: agent.id }),
    ...(framework !== undefined && { frameworkId: framework.id }),
  };
  const names = new Map(agents.map(({ id, name }) => [id, name]));
  const rows: TaskRow[] = [];
  for await (const task of operator.tasks(filter)) rows.push(taskRow(task, names.get(task.agentId) ?? ''));
  return rows;
}

export const findAgent = (agents: readonly AgentSummary[], wanted: string): AgentSummary =>
  findByPrefix('agent', wanted, agents, ({ name, id }) => [name, id], 'mesobus agents');

/** @throws {CommandError} it is unknown or ambiguous */
export async function findFramework(operator: Pick<Operator, 'frameworks'>, wanted: string): Promise<FrameworkSummary> {
  const frameworks = await operator.frameworks();
  return findByPrefix('framework', wanted, frameworks, ({ id, name }) => [id, name], 'mesobus frameworks');
}

function taskRow(task: TaskSummary, agentName: string): TaskRow {
  const { id, name, frameworkId, agentId, role, state, amounts, launchedAt, status } = task;
  const { cpus, mem, disk, gpus } = amounts;
  return {
    id,
    name,
    frameworkId,
    agentId,
    agentName,
    role,
    state,
    ended: isEndState(state),
    paused: status?.paused ?? false,
    resources: { cpus, mem, disk, gpus },
    launchedAt: launchedAt.toISOString(),
    message: status?.message ?? '',
  };
}

export const taskColumns = (now: number): Column<TaskRow>[] => [
  { head: 'task', cell: ({ id }) => id },
  { head: 'framework', cell: ({ frameworkId }) => frameworkId },
  { head: 'agent', cell: ({ agentName, agentId }) => agentName || agentId },
  { head: 'role', cell: ({ role }) => role },
  { head: 'state', cell: ({ state, paused }) => (paused ? `${state} (paused)` : state) },
  { head: 'cpus', align: 'right', cell: ({ resources }) => numberOf(resources.cpus) },
  { head: 'mem', align: 'right', cell: ({ resources }) => numberOf(resources.mem) },
  { head: 'age', align: 'right', cell: ({ launchedAt }) => ageOf(new Date(launchedAt), now) },
  { head: 'message', cell: ({ message }) => shortened(message, 60) },
];
