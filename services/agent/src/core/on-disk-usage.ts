import { mesos } from '@mesobus/protos';
import { quantitiesOf, select } from '@mesobus/sdk/resources';
import { askKills } from './carry-out-kill.ts';
import { askShutdown, neededBy } from './executors.ts';
import { shutAll } from './shut-by.ts';
import { idsIn } from './spans.ts';
import { type Executor, isLive, type Launch } from './state.ts';
import { log, type Turn } from './turn.ts';
import { resourcesOfTask } from './volumes.ts';

const { REASON_CONTAINER_LIMITATION_DISK } = mesos.v1.TaskStatus.Reason;
const bytesPerMegabyte = 2 ** 20;

/** What a sandbox takes. */
export interface DiskUsage {
  readonly containerId: string;
  readonly bytes: number;
}

/** Ends what has taken more disk than it was given. As in Mesos nothing is held to a limit that it has not asked for. */
export function onDiskUsage(turn: Turn, samples: readonly DiskUsage[]): void {
  const { state } = turn;
  for (const { containerId, bytes } of samples) {
    const owner = state.byContainer.get(containerId) ?? state.executors.get(containerId);
    if (owner === undefined || !isLive(owner)) continue;
    const limit = diskLimitBytes(owner);
    if (limit === 0 || bytes <= limit) continue;
    const [used, given] = [bytes, limit].map((amount) => `${Math.ceil(amount / bytesPerMegabyte)}MB`);
    end(turn, owner, `Disk usage (${used}) exceeds quota (${given})`);
  }
}

/** Of its sandbox, without persistent volumes; 0: none. */
export function diskLimitBytes(owner: Launch | Executor): number {
  const held = 'launches' in owner ? neededBy(owner) : resourcesOfTask(owner.task ?? {});
  const { disk = 0 } = quantitiesOf(select(held, (resource) => resource.disk === undefined));
  return Math.round((disk / 1000) * bytesPerMegabyte);
}

function end(turn: Turn, owner: Launch | Executor, message: string): void {
  if (owner.phase !== 'running') return;
  const { containerId: container, frameworkId: framework } = owner;
  log(turn, 'info', 'A container is killed for its use of disk', {
    container,
    framework,
    why: message,
    ...('launches' in owner ? {} : idsIn(owner)),
  });
  if ('launches' in owner) {
    const state = mesos.v1.TaskState.TASK_FAILED;
    const reason = REASON_CONTAINER_LIMITATION_DISK;
    askShutdown(turn, shutAll(turn.state, [owner], { graceMs: 0, state, reason, message }));
  } else if (owner.kill === undefined) askKills(turn, [{ launch: owner, graceMs: 0, overDisk: message }]);
}
