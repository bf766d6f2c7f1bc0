import type { ContainerUsage } from '@mesobus/sdk/operator';
import test from 'ava';
import { bytesOf } from '../src/output/humane.ts';
import { renderTable } from '../src/output/table.ts';
import { agentUses, type Sample, taskUseColumns, taskUses } from '../src/top/top-rows.ts';

const container = (containerId: string, atMs: number, more: Partial<ContainerUsage> = {}): ContainerUsage => ({
  ...{ containerId, frameworkId: 'F', executorId: containerId, taskIds: [containerId], paused: false, cpus: 0.5 },
  ...{ memoryLimitBytes: 2 ** 20, diskLimitBytes: 0, measuredAt: new Date(atMs), ...more },
});

const sample = (atMs: number, ...containers: ContainerUsage[]): Sample => ({
  agentName: 'a1',
  usage: {
    measuredAt: new Date(atMs),
    containers,
    machine: {
      ...{ cpus: 4, load: 1.5, memoryBytes: 8 * 2 ** 30, memoryAvailableBytes: 2 ** 30 },
      ...{ diskBytes: 100 * 2 ** 30, diskAvailableBytes: 50 * 2 ** 30 },
    },
  },
});

test('what adds up is shown as a rate between two samples, and the busiest comes first', (t) => {
  const before = [
    sample(0, container('idle', 0, { cpuSeconds: 5 }), container('busy', 0, { cpuSeconds: 1, ioReadBytes: 0 })),
  ];
  const after = [
    sample(
      2_000,
      container('idle', 2_000, { cpuSeconds: 5 }),
      container('busy', 2_000, { cpuSeconds: 4, throttledSeconds: 1, ioReadBytes: 4096, memoryBytes: 1024 }),
    ),
  ];
  const [busy, idle] = taskUses(before, after);
  t.like(busy, {
    containerId: 'busy',
    agentName: 'a1',
    cpus: 1.5,
    cpusGiven: 0.5,
    ioReadBytes: 2048,
    memoryBytes: 1024,
  });
  t.is(busy?.throttled, undefined, 'it was not known before');
  t.like(idle, { containerId: 'idle', cpus: 0 });
  const [agent] = agentUses(after, taskUses(before, after));
  t.like(agent, { agentName: 'a1', containers: 2, cpus: 1.5, cpusTotal: 4, memoryBytes: 1024 });
});

test('what is not known is a dash: of a task that is new, or of a machine that cannot measure it', (t) => {
  const rows = taskUses([], [sample(1_000, container('new', 1_000, { cpuSeconds: 3, paused: true }))]);
  t.is(rows[0]?.cpus, undefined);
  t.regex(renderTable(taskUseColumns, rows), /^new +F +a1 +- +0.5 +- +- +- +1.0M +- +- +- +- +paused$/m);
});

test('a count that went back is no use', (t) => {
  const [row] = taskUses(
    [sample(0, container('c', 0, { cpuSeconds: 9 }))],
    [sample(1_000, container('c', 1_000, { cpuSeconds: 1 }))],
  );
  t.is(row?.cpus, 0);
});

for (const [bytes, text] of [
  [0, '0B'],
  [999, '999B'],
  [1024, '1.0K'],
  [1536, '1.5K'],
  [10_240, '10K'],
  [1_048_576 * 340, '340M'],
  [1_023 * 1024, '1.0M'],
] as const) {
  test(`${bytes} bytes are ${text}`, (t) => {
    t.is(bytesOf(bytes), text);
  });
}
