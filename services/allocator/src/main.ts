import { randomInt } from 'node:crypto';
import { systemClock } from '@mesobus/sdk/bus';
import { connectBus, duration, flag, list, optional, runService, text } from '@mesobus/sdk/service';
import { Allocator } from './shell/allocator.ts';
import { loadPolicy } from './shell/load-policy.ts';
import { readMinimums } from './shell/read-minimums.ts';

const policies = "'drf', 'random', 'decayed-drf', or the path of a module whose default export is a policy";

await runService({
  name: 'allocator',
  summary: 'Decides who is offered what: weighted dominant resource fairness over roles and frameworks.',
  options: {
    id: optional(
      text({
        help: 'the name of this allocator; each has its own; unless given that of its credentials, or a new one at each start',
        example: 'allocator-1',
      }),
    ),
    roleSorter: text({ help: `which role is served next: ${policies}`, default: 'drf' }),
    frameworkSorter: text({ help: `which framework of a role is served next: ${policies}`, default: 'drf' }),
    fairSharingExcludedResourceNames: list(text({ help: 'a resource', example: 'gpus' }), {
      help: 'resources that do not count towards the share of a role or framework',
      default: [],
    }),
    minAllocatableResources: text({
      help: 'an offer has at least one of these, unless its framework takes less; within one, semicolons say and',
      default: 'cpus:0.01|mem:32',
    }),
    filterGpuResources: flag({
      help: 'offer agents with gpus only to frameworks that say GPU_RESOURCES',
      default: true,
    }),
    allocationIntervalMs: duration({
      help: 'what may have changed for many agents at once is looked at so often; one changed agent is, at once',
      default: '1secs',
      min: '10ms',
      max: '1mins',
    }),
    starvationBoundMs: duration({
      help: 'who wants what would fit and has been given nothing for so long goes first; offers are taken back for it',
      default: '2secs',
      min: '100ms',
    }),
    gatherMs: duration({
      help: 'changes within this time of an allocation round are gathered into the next',
      default: '5ms',
      max: '10s',
    }),
  },
  async start(context) {
    const { config, log, metrics, health } = context;
    const onProblem = ({ message, cause }: { message: string; cause?: unknown }): void =>
      log.error({ err: cause }, message);
    const allocation = {
      rolePolicy: await loadPolicy(config.roleSorter, { flag: '--role-sorter', onProblem }),
      frameworkPolicy: await loadPolicy(config.frameworkSorter, { flag: '--framework-sorter', onProblem }),
      excludedFromShares: config.fairSharingExcludedResourceNames,
      minimums: readMinimums(config.minAllocatableResources),
      filterGpuResources: config.filterGpuResources,
      allocationIntervalMs: config.allocationIntervalMs,
      starvationBoundMs: config.starvationBoundMs,
    };
    const name = config.id === undefined ? undefined : { flag: '--id', value: config.id };
    const { bus, subjects } = await connectBus(context, { kind: 'allocator', name });
    const allocator = new Allocator({
      bus,
      subjects,
      allocatorId: config.id ?? bus.identity?.name ?? context.instance,
      incarnation: context.instance,
      seed: randomInt(2 ** 31),
      clock: systemClock,
      now: Date.now,
      log,
      metrics,
      gatherMs: config.gatherMs,
      allocation,
    });
    health.check('books', () => (allocator.synchronised ? undefined : "the leader's books have not come yet"));
    context.onShutdown('stop allocating', () => allocator.stop());
    allocator.start();
  },
});
