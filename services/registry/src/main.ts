import { systemClock } from '@mesobus/sdk/bus';
import { choice, connectBus, duration, flag, integer, runService, size } from '@mesobus/sdk/service';
import { SnapshotKeeper } from './shell/keep-snapshots.ts';
import { logOn, openLogTools } from './shell/open-log.ts';
import { openHistoryReader } from './shell/read-history.ts';
import { describeProgress } from './shell/reading.ts';
import { registryMetrics } from './shell/registry-metrics.ts';
import { QueryService } from './shell/serve-queries.ts';

await runService({
  name: 'registry',
  summary: 'Follows the log of the cluster, answers what it says, and takes snapshots of it.',
  options: {
    replicas: choice(['1', '3'], {
      help: 'how many NATS servers keep the log; a log that is there must have as many',
      default: '1',
    }),
    acceptLazyFsync: flag({
      help: 'do not warn of what a power cut can cost where the NATS servers do not sync with every write',
      default: false,
    }),
    maxLagMs: duration({
      help: 'a registry that has lacked for so long what the leader has written answers nobody until it has it',
      default: '5secs',
      min: '1s',
    }),
    snapshotLogBytes: size({ help: 'a snapshot is taken once the log has grown by so much', default: '64MB' }),
    snapshotLogEntries: integer({ help: 'or by so many entries', default: 50_000, min: 1 }),
    snapshotAgeMs: duration({ help: 'or the last one is so old and anything is new', default: '10mins' }),
    snapshotRateBytes: size({
      help: 'snapshots are written at most so fast, per second',
      default: '16MB',
      min: '64KB',
    }),
    snapshotPatienceMs: duration({
      help: 'so long others have to confirm a snapshot, and the one that took the last to take the next',
      default: '30secs',
    }),
    historyAgeMs: duration({
      help: 'the history keeps entries of the log for so long',
      default: '7days',
      min: '1mins',
    }),
  },
  async start(context) {
    const { bus, subjects } = await connectBus(context, { kind: 'registry' });
    const { config, log, metrics, health, instance: registryId } = context;
    const replicas = Number(config.replicas);
    const { historyAgeMs: historyMaxAgeMs, acceptLazyFsync } = config;
    const tools = await openLogTools({
      connection: bus.connection,
      connectedBy: bus.connectedBy,
      subjects,
      replicas,
      acceptLazyFsync,
      log,
      historyMaxAgeMs,
    });

    let queries: QueryService | undefined;
    let keeper: SnapshotKeeper | undefined;
    const follower = logOn(tools).follow({
      onEntry: (entry) => {
        queries?.onIndex(entry.index);
        keeper?.onEntry(entry);
      },
      onReloaded: () => queries?.onIndex(follower.lastIndex),
      onStopped: (error) => context.stop(error.message, 1),
    });
    context.onShutdown('follow no more', () => follower.stop());
    const loaded = health.check('log', () => describeProgress(follower.progress));
    registryMetrics(metrics, follower, () => keeper?.status);
    await follower.caughtUp;
    loaded();

    const { snapshotLogBytes: logBytes, snapshotLogEntries: logEntries, snapshotAgeMs: ageMs } = config;
    const { snapshotRateBytes: bytesPerSecond, snapshotPatienceMs: leaveToOthersMs, maxLagMs } = config;
    const limits = { logBytes, logEntries, ageMs };
    const kept = new SnapshotKeeper(tools, follower.reading, { registryId, limits, bytesPerSecond, leaveToOthersMs });
    keeper = kept;
    context.onShutdown('take no more snapshots', () => kept.stop());
    const shared = { bus, subjects, clock: systemClock, follower, registryId, maxLagMs };
    const readHistory = await openHistoryReader(bus.connection, subjects.historyStream);
    queries = new QueryService({ ...shared, snapshots: () => kept.status, readHistory });
    context.onShutdown('answer no more queries', () => queries?.stop());
    await bus.flush();
  },
});
