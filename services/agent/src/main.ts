import './shell/spare-memory.ts';

import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { systemClock } from '@mesobus/sdk/bus';
import {
  aclsOption,
  choice,
  connectBus,
  domainOption,
  flag,
  integer,
  openAcls,
  optional,
  runService,
  size,
  text,
  version,
} from '@mesobus/sdk/service';
import { dockerOptions, openDocker } from './docker-options.ts';
import { executorOptions, executorTimesOf } from './executor-options.ts';
import { fetcherOptions, openFetcher } from './fetcher-options.ts';
import { oversubscriptionOf, oversubscriptionOptions } from './oversubscription-options.ts';
import { sandboxOptions } from './sandbox-options.ts';
import { agentMetrics } from './shell/agent-metrics.ts';
import { checkWritten, detectAttributes, detectResources, measureMachine } from './shell/detect.ts';
import { lockFile } from './shell/lock.ts';
import { openProcessContainerizer } from './shell/process/process-containerizer.ts';
import { sayRights } from './shell/rights.ts';
import { type Agent, startAgent } from './shell/run.ts';
import { openSecrets, secretOptions } from './shell/secrets.ts';
import { openWorkDir } from './shell/work-dir.ts';

await runService({
  name: 'agent',
  summary: 'Runs tasks on one machine.',
  options: {
    name: text({ help: 'the name of the agent, unique in the cluster', default: hostname() }),
    hostname: text({ help: 'what frameworks are told as the name of the machine', default: hostname() }),
    workDir: text({ help: 'where sandboxes and the journal are kept', default: '/var/lib/mesobus/agent' }),
    resources: optional(
      text({ help: 'what to offer instead of what is found, as text or JSON', example: 'cpus:4;mem:8192' }),
    ),
    defaultRole: text({ help: 'whom resources are reserved to that name no role; *: nobody', default: '*' }),
    attributes: optional(
      text({ help: 'what to say about the machine, as text or JSON', example: 'rack:abc;level:10' }),
    ),
    domain: domainOption('the region and zone of the machine; its masters must have one too'),
    reconfigurationPolicy: choice(['equal', 'additive', 'any'], {
      help: 'what of resources and attributes may differ from before: nothing, more of them, anything',
      default: 'equal',
    }),
    ...oversubscriptionOptions,
    ...sandboxOptions,
    ...executorOptions,
    isolation: text({
      help: "what keeps tasks apart: 'auto' (control groups if there are any), 'none', or a list of 'cgroups', 'namespaces', 'no-new-privileges' and of Mesos' names for them, which must then be possible",
      default: 'auto',
    }),
    cgroupsEnableCfs: flag({ help: 'hold tasks to their cpus also when others need none', default: false }),
    cgroupsPidsLimit: optional(integer({ help: 'how many processes and threads a task may have', min: 1 })),
    containerLogMaxSize: size({
      help: 'stdout and stderr of a task are renamed to stdout.1 and stderr.1 when they reach this; 0B: never',
      default: '10MB',
    }),
    ...dockerOptions,
    ...fetcherOptions,
    ...secretOptions,
    acls: aclsOption,
    switchUser: flag({
      help: 'run tasks as the user that they or their framework name; needs root',
      default: process.getuid?.() === 0,
    }),
  },
  async start(context) {
    const { config, log, instance, metrics, health } = context;
    checkWritten(config);
    sayRights(config.switchUser, log);
    let agent: Agent | undefined;
    process.on('SIGUSR1', () => (agent === undefined ? context.stop('SIGUSR1') : agent.shutdown('SIGUSR1')));
    const workDir = openWorkDir(config.workDir);
    const lock = await lockFile(workDir.lock, `agent '${config.name}' (process ${process.pid} of ${hostname()})`);
    context.onShutdown('release the work directory', () => lock.release());
    const secrets = openSecrets(config, { workDir, switchUser: config.switchUser, log });
    context.onShutdown('remove the folder for files of secrets', () => secrets?.close());
    const acls = openAcls(config.acls, { clock: systemClock, log });
    context.onShutdown('stop reading the ACLs', () => acls?.stop());
    const [machine, { bus, subjects }] = await Promise.all([
      measureMachine(workDir.root),
      // Thousands of agents come back at once when their NATS server does.
      connectBus(
        context,
        { kind: 'agent', name: { flag: '--name', value: config.name } },
        { reconnectWaitMs: 500, jitterMs: 5_000 },
      ),
    ]);
    const info = {
      hostname: config.hostname,
      resources: detectResources(machine, config.resources, config.defaultRole),
      attributes: detectAttributes(machine, config.attributes),
      ...(config.domain && { domain: config.domain }),
    };
    const processContainerizer = await openProcessContainerizer({
      agentName: config.name,
      workDir,
      isolation: config.isolation,
      enableCfs: config.cgroupsEnableCfs,
      pidsLimit: config.cgroupsPidsLimit,
      logMaxBytes: config.containerLogMaxSize,
      log,
    });
    const docker = await openDocker(config, {
      workDir,
      enableCfs: config.cgroupsEnableCfs,
      pidsLimit: config.cgroupsPidsLimit,
      logMaxBytes: config.containerLogMaxSize,
      log,
    });
    const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const incarnation = `${instance}-${randomUUID()}`;
    const reconfiguration = config.reconfigurationPolicy;
    const oversubscription = oversubscriptionOf(config);
    const executors = executorTimesOf(config);
    const running = await startAgent({
      facts: {
        agentName: config.name,
        version,
        incarnation,
        bootId,
        info,
        reconfiguration,
        oversubscription,
        executors,
      },
      bus,
      subjects,
      workDir,
      containerizers: { process: processContainerizer, ...(docker && { docker }) },
      switchUser: config.switchUser,
      sandboxCare: config,
      fetcher: openFetcher(config, workDir, bus.connection),
      secrets,
      acls,
      executorPort: config.executorPort,
      log,
      onStop: (reason, exitCode) => context.stop(reason, exitCode),
    });
    agent = running;
    context.onShutdown('close the journal', () => running.close());
    health.check('registered', () => (running.registered ? undefined : 'no leader has registered this agent yet'));
    agentMetrics(metrics, running.sight);
    metrics.gauge('agent_tasks', 'Tasks that are alive', { collect: (gauge) => gauge.set(running.counts.tasks) });
    metrics.gauge('agent_revocable_cpus', 'Cpus that tasks hold and leave idle, as estimated', {
      collect: (gauge) => gauge.set(running.idle.cpus),
    });
    metrics.gauge('agent_revocable_mem_megabytes', 'Memory that tasks hold and leave idle, as estimated', {
      collect: (gauge) => gauge.set(running.idle.mem),
    });
    metrics.gauge('agent_tasks_unacknowledged', 'Tasks with updates that nobody has acknowledged', {
      collect: (gauge) => gauge.set(running.counts.unacknowledged),
    });
  },
});
