// A step of the recovery benchmark: a process that has just started and wants to lead.
import { createState, defaultConfig, step as stepMaster, takeFeed, waitingFeeds } from '@mesobus/master/core';
import { mesobus } from '@mesobus/protos';
import { ledgerHash, logOn } from '@mesobus/registry';
import type { Ledger } from '@mesobus/registry/core';
import type { ColdStart, RecoveryStep } from './recovery.ts';
import { answer, openBuckets, stepOf } from './recovery-step.ts';

const step = stepOf<RecoveryStep>();
const { bus, tools } = await openBuckets(step);
const connectedMs = performance.now();
const leadership = await logOn(tools).lead({ masterId: 'cold' });
const readyMs = performance.now(); // since this process started
const cpuMs = sumMs(process.cpuUsage());
const mainThreadCpuMs = sumMs(process.threadCpuUsage());
const { ledger } = leadership;
const rssMb = process.resourceUsage().maxRSS / 1024;
globalThis.gc?.();
const heapMb = process.memoryUsage().heapUsed / 1e6;
let tasks = 0;
for (const framework of ledger.frameworks.values()) tasks += framework.tasks.size;
const counts = { agents: ledger.agents.size, tasks };
const hashMs = timed(() => ledgerHash(ledger)).ms;
const { createStateMs, feedMs } = timeMaster(ledger);
await leadership.resign();
await answer<ColdStart>(bus, {
  ...{ readyMs, recoveryMs: readyMs - connectedMs, cpuMs, mainThreadCpuMs, heapMb, rssMb, ...counts },
  ...{ createStateMs, feedMs, hashMs },
});

/** How long the leader needs before an allocator knows everything. */
function timeMaster(books: Ledger): Pick<ColdStart, 'createStateMs' | 'feedMs'> {
  const at = Date.now();
  const masterInfo = { id: 'cold', ip: 0, port: 5050, hostname: 'bench' };
  const made = timed(() => createState(books, { ...defaultConfig, masterId: 'cold', masterInfo }, at));
  const feed = timed(() => {
    const hello = { incarnation: 'x', losses: 1 };
    const request = new mesobus.v1.AllocatorRequest({ hello });
    stepMaster(made.value, at, { kind: 'allocator_request', allocatorId: 'al1', token: 0, request });
    while ([...waitingFeeds(made.value)].length > 0) {
      const batch = takeFeed(made.value, 'al1');
      if (batch === undefined) break;
      const digested = new mesobus.v1.AllocatorRequest({
        hello: { ...hello, feed: batch.feed, digested: batch.number },
      });
      stepMaster(made.value, at, { kind: 'allocator_request', allocatorId: 'al1', token: 0, request: digested });
      if (batch.snapshotEnds) break;
    }
  });
  return { createStateMs: made.ms, feedMs: feed.ms };
}

function sumMs({ user, system }: NodeJS.CpuUsage): number {
  return (user + system) / 1_000;
}

function timed<T>(act: () => T): { readonly value: T; readonly ms: number } {
  const startedAt = performance.now();
  const value = act();
  return { value, ms: performance.now() - startedAt };
}
