import type { AgentSummary, Operator } from '@mesobus/sdk/operator';
import { Command } from 'commander';
import { findAgent } from '../lists/list-tasks.ts';
import { type Streams, writeJson, writeTo } from '../output/streams.ts';
import { withOperator } from '../with-operator.ts';
import { type ClusterFlags, duration, withConnection, withJson } from './options.ts';

interface Change<Flags> {
  readonly change: (operator: Operator, agent: AgentSummary, flags: Flags) => Promise<void>;
  /** What is said when it is done: `agent a1 (id) is deactivated`. */
  readonly done: string;
}

type DrainFlags = ClusterFlags & { readonly grace?: number; readonly markGone?: boolean };

/** `agent drain`, `agent deactivate`, `agent reactivate` and `agent gone`. */
export function agentCommand(streams: Streams): Command {
  const act = <Flags extends ClusterFlags>(command: Command, { change, done }: Change<Flags>): Command =>
    withJson(withConnection(command))
      .argument('<agent>', 'its name or id, or the beginning of one')
      .action(async (wanted: string, flags: Flags) => {
        const { id, name } = await withOperator(flags, async (operator) => {
          const agent = findPresent(await operator.agents(), wanted);
          await change(operator, agent, flags);
          return agent;
        });
        if (flags.json === true) await writeJson(streams, { agentId: id, name });
        else await writeTo(streams.out, `agent ${name} (${id}) ${done}\n`);
      });

  const drain = new Command('drain')
    .description('kill the tasks of an agent and give it no new ones')
    .option('--grace <duration>', 'the longest a task may take to end by itself [default: as each task says]', duration)
    .option('--mark-gone', 'when all have ended, the agent is gone for good');
  const deactivate = new Command('deactivate').description('give an agent no new tasks; those that it has go on');
  const reactivate = new Command('reactivate').description('give an agent tasks again; this ends a drain');
  const gone = new Command('gone').description(
    'declare an agent dead: its tasks count as gone, its id is refused for good',
  );
  return new Command('agent')
    .description('drain, deactivate, reactivate an agent, or declare it gone')
    .addCommand(act<DrainFlags>(drain, { change: drainAgent, done: 'is being drained' }))
    .addCommand(act(deactivate, { change: (operator, { id }) => operator.deactivateAgent(id), done: 'is deactivated' }))
    .addCommand(
      act(reactivate, { change: (operator, { id }) => operator.reactivateAgent(id), done: 'is active again' }),
    )
    .addCommand(act(gone, { change: (operator, { id }) => operator.markAgentGone(id), done: 'is gone' }));
}

function drainAgent(operator: Operator, { id }: AgentSummary, { grace, markGone = false }: DrainFlags): Promise<void> {
  return operator.drainAgent(id, { markGone, ...(grace !== undefined && { maxGracePeriodMs: grace }) });
}

/** One that is gone is meant by its whole id alone: another may have its name by now. */
function findPresent(agents: readonly AgentSummary[], wanted: string): AgentSummary {
  return findAgent(
    agents.filter(({ id, lifecycle }) => lifecycle !== 'gone' || id === wanted),
    wanted,
  );
}
