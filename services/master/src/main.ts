import { hostname } from 'node:os';
import { openLog } from '@mesobus/registry';
import { systemClock } from '@mesobus/sdk/bus';
import {
  aclsOption,
  choice,
  connectBus,
  domainOption,
  duration,
  flag,
  integer,
  openAcls,
  optional,
  runService,
  size,
  text,
  tracingEnabled,
  version,
} from '@mesobus/sdk/service';
import { agentConfigOf, agentOptions } from './agent-options.ts';
import { defaultConfig } from './core/index.ts';
import { contend } from './shell/contend.ts';
import { masterMetrics, observeAppends } from './shell/master-metrics.ts';
import { observeOffers } from './shell/observe-offers.ts';
import { openRateLimits } from './shell/rate-limits.ts';
import { openWhitelist } from './shell/whitelist.ts';

await runService({
  name: 'master',
  summary: 'Offers the resources of agents to frameworks, and launches what they accept.',
  options: {
    replicas: choice(['1', '3'], {
      help: 'how many NATS servers keep the log; a log that is there must have as many',
      default: '1',
    }),
    acceptLazyFsync: flag({
      help: 'do not warn of what a power cut can cost where the NATS servers do not sync with every write',
      default: false,
    }),
    offerTimeoutMs: optional(
      duration({
        help:
          'an offer not answered for so long is rescinded; 0ms: never; left out: never for frameworks that came with ' +
          "Mesos' API, and for others after 1 to 5 s, as they usually take",
      }),
    ),
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
    offerConstraintsRe2MaxMem: size({
      help: 'so long may a regex in offer constraints be, also with its counted repetitions written out',
      default: '4KB',
    }),
    offerConstraintsRe2MaxProgramSize: integer({
      help: 'so many instructions may the program of a regex in offer constraints have',
      default: defaultConfig.constraintBounds.maxProgramSize,
      min: 0,
    }),
    reclaimAfterMs: duration({
      help:
        'a guarantee, or the fair share of what a framework says it wants, that nothing free meets for so long has ' +
        "revocable tasks and those labelled 'mesobus.preemptible=true' asked back and killed; 0ms: never",
      default: '0ms',
    }),
    reclaimNoticeMs: duration({
      help: 'a task that is asked back has so long to end by itself before it is killed, with its grace period',
      default: '30secs',
    }),
    domain: domainOption('the region and zone of this master; one of another region than the leader ends'),
    whitelist: optional(
      text({
        help: 'a file with the hostnames of the agents that are offered, one per line; read again every 5 s',
        example: '/etc/mesobus/whitelist',
      }),
    ),
    acls: aclsOption,
    rateLimits: optional(
      text({
        help: 'a file with how many calls a second schedulers may make, by principal, as JSON of Mesos (RateLimits)',
        example: '/etc/mesobus/rate-limits.json',
      }),
    ),
    ...agentOptions,
  },
  async start(context) {
    const { config, log, metrics } = context;
    const { bus, subjects } = await connectBus(context, { kind: 'master' });
    // What the logs, traces and metrics of this process are found by.
    const masterId = context.instance.slice('master-'.length);
    const { acceptLazyFsync } = config;
    const opened = await openLog({
      connection: bus.connection,
      connectedBy: bus.connectedBy,
      subjects,
      replicas: Number(config.replicas),
      acceptLazyFsync,
      log,
      onAppended: observeAppends(metrics),
    });
    const { offerTimeoutMs, maxCompletedTasksPerFramework, maxCompletedFrameworks } = config;
    const { reclaimAfterMs, reclaimNoticeMs } = config;
    const { offerConstraintsRe2MaxMem: maxMem, offerConstraintsRe2MaxProgramSize: maxProgramSize } = config;

    const { domain } = config;
    const reading = { clock: systemClock, log };
    const whitelist = config.whitelist === undefined ? undefined : openWhitelist(config.whitelist, reading);
    const acls = openAcls(config.acls, reading);
    context.onShutdown('stop reading files', () => {
      whitelist?.stop();
      acls?.stop();
    });
    const rateLimiter = openRateLimits(config.rateLimits, metrics);
    // A standby is ready too: it follows the log until it leads.
    const master = contend({
      log: opened,
      bus,
      subjects,
      clock: systemClock,
      wallMs: Date.now,
      logger: log,
      masterId,
      whitelist,
      acls,
      rateLimiter,
      config: {
        ...defaultConfig,
        ...agentConfigOf(config),
        masterInfo: { id: masterId, ip: 0, port: 5050, hostname: hostname(), version, ...(domain && { domain }) },
        maxCompletedTasksPerFramework,
        maxCompletedFrameworks,
        offerTimeoutMs,
        reclaimAfterMs,
        reclaimNoticeMs,
        tracing: tracingEnabled(),
        traceSample: config.traceSample,
        constraintBounds: { maxMem, maxProgramSize },
      },
      onFailed: (error) => context.stop(error instanceof Error ? error.message : String(error), 1),
    });
    context.onShutdown('hand over', () => master.stop());
    metrics.gauge('master_leading', '1 while this master leads.', {
      collect: (gauge) => gauge.set(master.leadership === undefined ? 0 : 1),
    });
    metrics.gauge('master_log_index', 'The last entry committed by this leader.', {
      collect: (gauge) => gauge.set(master.leadership?.lastIndex ?? 0),
    });
    masterMetrics(metrics, master);
    observeOffers(metrics, () => master.state);
    metrics.gauge('master_unreachable_marks', 'Agents that this leader found silent, by what came of it.', {
      labels: ['outcome'],
      collect: (gauge) => {
        const { scheduled = 0, completed = 0, canceled = 0 } = master.state?.unreachable ?? {};
        for (const [outcome, count] of Object.entries({ scheduled, completed, canceled }))
          gauge.set({ outcome }, count);
      },
    });
  },
});
