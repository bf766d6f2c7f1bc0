import { hostname } from 'node:os';
import { openLog } from '@mesobus/registry';
import { systemClock } from '@mesobus/sdk/bus';
import { choice, connectBus, duration, integer, optional, runService, version } from '@mesobus/sdk/service';
import { defaultConfig } from './core/index.ts';
import { run } from './shell/run.ts';

await runService({
  name: 'master',
  summary: 'Offers the resources of agents to frameworks, and launches what they accept.',
  options: {
    replicas: choice(['1', '3'], {
      help: 'how many NATS servers keep the log; counts when it is created',
      default: '1',
    }),
    takeoverAfterMs: optional(
      duration({
        help: 'another leader is replaced once the log has shown nothing for so long; its lease of 15 s unless given',
        example: '2secs',
        min: '1s',
      }),
    ),
    offerTimeoutMs: duration({ help: 'an offer not answered for so long is rescinded; 0ms: never', default: '5secs' }),
    maxCompletedTasksPerFramework: integer({
      help: 'ended and acknowledged tasks that are remembered, per framework',
      default: defaultConfig.maxCompletedTasksPerFramework,
      min: 0,
    }),
    maxCompletedFrameworks: integer({
      help: 'removed frameworks that are remembered, with their tasks',
      default: defaultConfig.maxCompletedFrameworks,
      min: 0,
    }),
    agentPingTimeoutMs: duration({ help: 'how often agents say that they are alive', default: '5secs', min: '100ms' }),
    maxAgentPingTimeouts: integer({ help: 'so many heartbeats missing: disconnected', default: 6, min: 1 }),
  },
  async start(context) {
    const { config, log, metrics, signal } = context;
    const { bus, subjects } = await connectBus(context);
    // What the logs, traces and metrics of this process are found by.
    const masterId = context.instance.slice('master-'.length);
    const opened = await openLog({ connection: bus.connection, subjects, replicas: Number(config.replicas), log });
    let leading = false;
    let index = (): number => 0;
    metrics.gauge('master_leading', '1 while this master leads.', { collect: (gauge) => gauge.set(leading ? 1 : 0) });
    metrics.gauge('master_log_index', 'The last entry committed by this leader.', {
      collect: (gauge) => gauge.set(index()),
    });

    // A standby is ready too: it follows the log until it leads.
    const { takeoverAfterMs } = config;
    void opened.lead({ masterId, signal, ...(takeoverAfterMs !== undefined && { takeoverAfterMs }) }).then(
      (leadership) => {
        leading = true;
        index = () => leadership.lastIndex;
        const wallOffsetMs = Date.now() - systemClock.now();
        const { offerTimeoutMs, agentPingTimeoutMs, maxAgentPingTimeouts } = config;
        const { maxCompletedTasksPerFramework, maxCompletedFrameworks } = config;
        const timers = { offerTimeoutMs, agentPingTimeoutMs, maxAgentPingTimeouts };
        const masterInfo = { id: masterId, ip: 0, port: 5050, hostname: hostname(), version };
        const master = run({
          bus,
          subjects,
          leadership,
          config: {
            ...defaultConfig,
            masterId,
            masterInfo,
            maxCompletedTasksPerFramework,
            maxCompletedFrameworks,
            ...timers,
          },
          clock: systemClock,
          now: () => systemClock.now() + wallOffsetMs,
          log,
          onFatal: (error) => {
            log.error({ err: error }, 'this leadership cannot go on');
            context.stop('this leadership cannot go on', 1);
          },
        });
        context.onShutdown('hand over', async () => {
          master.stop();
          await leadership.resign();
        });
        void leadership.lost.then(({ reason, why }) => {
          leading = false;
          master.stop();
          if (reason !== 'resigned') context.stop(`leadership lost (${reason}): ${why}`, 1);
        });
      },
      (error: unknown) => {
        if (!signal.aborted) context.stop(error instanceof Error ? error.message : String(error), 1);
      },
    );
  },
});
