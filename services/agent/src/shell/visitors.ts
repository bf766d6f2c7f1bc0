import type { mesobus } from '@mesobus/protos';
import type { Bus, Clock, Subjects } from '@mesobus/sdk/bus';
import { findLatest, isContainerAlive, type State } from '../core/index.ts';
import type { ContainerUsage } from './containerizer.ts';
import type { Containers } from './containers.ts';
import type { DiskMeter } from './disk-meter.ts';
import { answerFileRequest, type FilesOptions } from './files.ts';
import { Statistics } from './statistics.ts';
import { enterer } from './streams/enter.ts';
import { Sessions } from './streams/sessions.ts';
import { VisitorRights, type VisitorRightsOptions } from './visitor-rights.ts';

export interface VisitorsOptions extends Pick<VisitorRightsOptions, 'acls'> {
  readonly bus: Bus;
  readonly subjects: Subjects;
  readonly agentName: string;
  /** Looked at, never changed. */
  readonly state: State;
  readonly sandboxes: string;
  readonly containers: Pick<Containers, 'runInside' | 'terminal'>;
  readonly usage: (containerIds: readonly string[]) => Promise<readonly ContainerUsage[]>;
  readonly disk: DiskMeter;
  readonly clock: Clock;
  /** Ms since 1970. */
  readonly now: () => number;
}

/** Serves those who look into the containers of an agent: at files, by sessions, at what they use. Gives the call that ends it. */
export function serveVisitors(options: VisitorsOptions): () => void {
  const { bus, subjects, agentName, state, sandboxes, clock } = options;
  const files: FilesOptions = {
    sandboxes,
    sandboxOf: ({ frameworkId, taskId }) => findLatest(state, frameworkId, taskId)?.sandbox || undefined,
    isAlive: (containerId) => isContainerAlive(state, containerId),
  };
  const rights = new VisitorRights(options);
  const sessions = new Sessions(clock, enterer({ ...options, rights }));
  const statistics = new Statistics(options);
  const serving = [
    bus.serve(subjects.agentFiles(agentName).any, async (delivery) => {
      const checkPath = (path: string): void => rights.checkPath(delivery.id, path);
      delivery.reply(await answerFileRequest({ ...files, checkPath }, delivery.message));
    }),
    bus.serve(subjects.agentExec(agentName).any, async (delivery) =>
      delivery.reply(await sessions.answer('exec', delivery.id, delivery.message)),
    ),
    bus.serve(subjects.agentAttach(agentName).any, async (delivery) =>
      delivery.reply(await sessions.answer('attach', delivery.id, delivery.message)),
    ),
    bus.serve(subjects.agentUsage(agentName).any, async (delivery) =>
      delivery.reply(visibleTo(rights, delivery.id, await statistics.answer())),
    ),
  ];
  return () => {
    for (const subscription of serving) subscription.stop();
    sessions.close();
  };
}

function visibleTo(
  rights: VisitorRights,
  principal: string,
  usage: mesobus.v1.AgentUsage.$Properties,
): mesobus.v1.AgentUsage.$Properties {
  const containers = usage.containers?.filter(({ containerId }) => rights.mayView(principal, containerId ?? ''));
  return { ...usage, containers: containers ?? [] };
}
