import { randomInt } from 'node:crypto';
import { systemClock } from '@mesobus/sdk/bus';
import { connectBus, duration, optional, runService, text } from '@mesobus/sdk/service';
import { Allocator } from './shell/allocator.ts';

await runService({
  name: 'allocator',
  summary: 'Decides who is offered what: weighted dominant resource fairness over roles and frameworks.',
  options: {
    id: optional(
      text({
        help: 'the name of this allocator; each has its own; made at each start unless given',
        example: 'allocator-1',
      }),
    ),
    allocationIntervalMs: duration({
      help: 'changes within this time of an allocation round are gathered into the next',
      default: '5ms',
      max: '10s',
    }),
  },
  async start(context) {
    const { config, log, metrics, health } = context;
    const { bus, subjects } = await connectBus(context);
    const allocator = new Allocator({
      bus,
      subjects,
      allocatorId: config.id ?? context.instance,
      incarnation: context.instance,
      seed: randomInt(2 ** 31),
      clock: systemClock,
      now: Date.now,
      log,
      metrics,
      gatherMs: config.allocationIntervalMs,
    });
    health.check('books', () => (allocator.synchronised ? undefined : "the leader's books have not come yet"));
    context.onShutdown('stop allocating', () => allocator.stop());
    allocator.start();
  },
});
