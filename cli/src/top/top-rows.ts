import type { AgentUsage, ContainerUsage } from '@mesobus/sdk/operator';
import { bytesOf, numberOf, percentOf } from '../output/humane.ts';
import type { Column } from '../output/table.ts';

/** What an agent said, and when: twice, for what is counted from the beginning. */
export interface Sample {
  readonly agentName: string;
  readonly usage: AgentUsage;
}

/** What a container uses now. What is absent is not known. */
export interface TaskUse {
  readonly taskIds: readonly string[];
  readonly frameworkId: string;
  readonly agentName: string;
  readonly containerId: string;
  readonly paused: boolean;
  /** In use, and given. */
  readonly cpus?: number;
  readonly cpusGiven: number;
  /** The part of the time in which it wanted more cpu than it may have. */
  readonly throttled?: number;
  readonly memoryBytes?: number;
  readonly memoryPeakBytes?: number;
  /** 0: none. */
  readonly memoryLimitBytes: number;
  readonly diskBytes?: number;
  /** 0: none. */
  readonly diskLimitBytes: number;
  /** Per second. */
  readonly ioReadBytes?: number;
  readonly ioWriteBytes?: number;
  readonly processes?: number;
}

export interface AgentUse {
  readonly agentName: string;
  readonly containers: number;
  /** In use by its containers. */
  readonly cpus: number;
  readonly cpusTotal: number;
  readonly load: number;
  /** In use by its containers. */
  readonly memoryBytes: number;
  readonly memoryAvailableBytes: number;
  readonly memoryTotalBytes: number;
  readonly diskAvailableBytes: number;
  readonly diskTotalBytes: number;
}

/** What each container used between two samples of its agent; the one that uses most cpu, and then memory, first. */
export function taskUses(before: readonly Sample[], after: readonly Sample[]): TaskUse[] {
  const known = new Map(before.flatMap(({ usage }) => usage.containers.map((one) => [one.containerId, one])));
  const rows = after.flatMap(({ agentName, usage }) =>
    usage.containers.map((now) => taskUse(agentName, known.get(now.containerId), now)),
  );
  return rows.sort((a, b) => (b.cpus ?? 0) - (a.cpus ?? 0) || (b.memoryBytes ?? 0) - (a.memoryBytes ?? 0));
}

function taskUse(agentName: string, before: ContainerUsage | undefined, now: ContainerUsage): TaskUse {
  const rate = (name: 'cpuSeconds' | 'throttledSeconds' | 'ioReadBytes' | 'ioWriteBytes'): number | undefined => {
    const seconds = ((now.measuredAt?.getTime() ?? 0) - (before?.measuredAt?.getTime() ?? 0)) / 1000;
    const [from, to] = [before?.[name], now[name]];
    return from === undefined || to === undefined || seconds <= 0 ? undefined : Math.max(0, to - from) / seconds;
  };
  const { taskIds, frameworkId, containerId, paused, memoryBytes, memoryPeakBytes, diskBytes, processes } = now;
  const known = {
    ...{ cpus: rate('cpuSeconds'), throttled: rate('throttledSeconds'), memoryBytes, memoryPeakBytes, diskBytes },
    ...{ ioReadBytes: rate('ioReadBytes'), ioWriteBytes: rate('ioWriteBytes'), processes },
  };
  return {
    ...{ taskIds, frameworkId, agentName, containerId, paused, cpusGiven: now.cpus },
    ...{ memoryLimitBytes: now.memoryLimitBytes, diskLimitBytes: now.diskLimitBytes },
    ...(Object.fromEntries(Object.entries(known).filter(([, value]) => value !== undefined)) as Partial<TaskUse>),
  };
}

export function agentUses(after: readonly Sample[], tasks: readonly TaskUse[]): AgentUse[] {
  return after.map(({ agentName, usage: { machine } }) => {
    const own = tasks.filter((task) => task.agentName === agentName);
    const sum = (name: 'cpus' | 'memoryBytes'): number => own.reduce((total, task) => total + (task[name] ?? 0), 0);
    return {
      ...{ agentName, containers: own.length, cpus: sum('cpus'), cpusTotal: machine.cpus, load: machine.load },
      memoryBytes: sum('memoryBytes'),
      memoryAvailableBytes: machine.memoryAvailableBytes,
      memoryTotalBytes: machine.memoryBytes,
      diskAvailableBytes: machine.diskAvailableBytes,
      diskTotalBytes: machine.diskBytes,
    };
  });
}

const orDash = <T>(value: T | undefined, say: (value: T) => string): string => (value === undefined ? '-' : say(value));
const bytesOrDash = (value: number | undefined): string => orDash(value || undefined, bytesOf);
const rounded = (value: number): string => numberOf(Math.round(value * 100) / 100);

export const taskUseColumns: readonly Column<TaskUse>[] = [
  { head: 'task', cell: ({ taskIds }) => taskIds.join(',') },
  { head: 'framework', cell: ({ frameworkId }) => frameworkId },
  { head: 'agent', cell: ({ agentName }) => agentName },
  { head: 'cpus', align: 'right', cell: ({ cpus }) => orDash(cpus, rounded) },
  { head: 'given', align: 'right', cell: ({ cpusGiven }) => numberOf(cpusGiven) },
  { head: 'throttled', align: 'right', cell: ({ throttled }) => orDash(throttled, percentOf) },
  { head: 'mem', align: 'right', cell: ({ memoryBytes }) => orDash(memoryBytes, bytesOf) },
  { head: 'peak', align: 'right', cell: ({ memoryPeakBytes }) => bytesOrDash(memoryPeakBytes) },
  { head: 'limit', align: 'right', cell: ({ memoryLimitBytes }) => bytesOrDash(memoryLimitBytes) },
  { head: 'disk', align: 'right', cell: ({ diskBytes }) => orDash(diskBytes, bytesOf) },
  { head: 'read/s', align: 'right', cell: ({ ioReadBytes }) => orDash(ioReadBytes, bytesOf) },
  { head: 'written/s', align: 'right', cell: ({ ioWriteBytes }) => orDash(ioWriteBytes, bytesOf) },
  { head: 'procs', align: 'right', cell: ({ processes }) => orDash(processes, String) },
  { head: '', cell: ({ paused }) => (paused ? 'paused' : '') },
];

export const agentUseColumns: readonly Column<AgentUse>[] = [
  { head: 'agent', cell: ({ agentName }) => agentName },
  { head: 'containers', align: 'right', cell: ({ containers }) => containers },
  { head: 'cpus', align: 'right', cell: ({ cpus, cpusTotal }) => `${rounded(cpus)}/${cpusTotal}` },
  { head: 'load', align: 'right', cell: ({ load }) => rounded(load) },
  { head: 'mem', align: 'right', cell: ({ memoryBytes }) => bytesOf(memoryBytes) },
  {
    head: 'mem free',
    align: 'right',
    cell: ({ memoryAvailableBytes, memoryTotalBytes }) =>
      `${bytesOf(memoryAvailableBytes)}/${bytesOf(memoryTotalBytes)}`,
  },
  {
    head: 'disk free',
    align: 'right',
    cell: ({ diskAvailableBytes, diskTotalBytes }) => `${bytesOf(diskAvailableBytes)}/${bytesOf(diskTotalBytes)}`,
  },
];
