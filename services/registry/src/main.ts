import { systemClock } from '@mesobus/sdk/bus';
import { choice, connectBus, runService } from '@mesobus/sdk/service';
import { openLog } from './shell/open-log.ts';
import { QueryService } from './shell/serve-queries.ts';

await runService({
  name: 'registry',
  summary: 'Follows the log of the cluster and answers what it says: agents, frameworks, tasks, roles.',
  options: {
    replicas: choice(['1', '3'], {
      help: 'how many NATS servers keep the log; counts when it is created',
      default: '1',
    }),
  },
  async start(context) {
    const { bus, subjects } = await connectBus(context);
    const { config, log, metrics, instance } = context;
    const opened = await openLog({ connection: bus.connection, subjects, replicas: Number(config.replicas), log });

    let queries: QueryService | undefined;
    const follower = opened.follow({
      onEntry: ({ index }) => queries?.onIndex(index),
      onStopped: (error) => context.stop(error.message, 1),
    });
    context.onShutdown('follow no more', () => follower.stop());
    await follower.caughtUp;

    queries = new QueryService({ bus, subjects, clock: systemClock, follower, registryId: instance });
    context.onShutdown('answer no more queries', () => queries?.stop());
    metrics.gauge('registry_log_index', 'The last entry that the ledger holds', {
      collect: (gauge) => gauge.set(follower.lastIndex),
    });
    await bus.flush();
  },
});
