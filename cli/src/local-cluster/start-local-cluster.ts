import { randomBytes } from 'node:crypto';
import { rmSync, statfsSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { resolveNatsServer } from '@mesobus/sdk/service';
import { claimFolder } from './claim-folder.ts';
import type { ClusterEvent } from './cluster-event.ts';
import { type ClusterPaths, clusterPaths, makeFolders } from './cluster-paths.ts';
import { readLocalContext } from './context-file.ts';
import { endRecorded } from './end-recorded.ts';
import { LocalCluster } from './local-cluster.ts';
import { chooseAddresses, natsServerPrograms, natsUrl, requireAble } from './nats-server.ts';
import { type Place, thisMachine, within } from './place.ts';
import { purgeFolder } from './purge-folder.ts';
import { agentProgram, controlPrograms, namesOf, type ServiceSettings } from './service-programs.ts';
import { type Machine, splitResources } from './split-resources.ts';
import type { Program } from './supervised.ts';

export interface LocalClusterOptions {
  /** Where the cluster keeps its state, logs and sandboxes; made if it does not exist. */
  readonly dir: string;
  /** How many agents, `agent-1` and so on; default 1. 0 leaves a cluster that can run nothing yet. */
  readonly agents?: number | undefined;
  /** Of each agent, as its `--resources` takes it; default: this machine divided between them. */
  readonly resources?: string | undefined;
  /** Of each agent, as its `--attributes` takes it. */
  readonly attributes?: string | undefined;
  /** Default `main`. */
  readonly cluster?: string | undefined;
  /** How many NATS servers, of which each keeps the log: 1 or 3; default 1. */
  readonly natsServers?: 1 | 3 | undefined;
  /** How many of them, of which one leads; default 1. */
  readonly masters?: number | undefined;
  /** How many of them, of which one is appointed; default 1. */
  readonly allocators?: number | undefined;
  readonly registries?: number | undefined;
  /** Of the nats-server, on loopback, the others have those that follow; default: any that are free. */
  readonly port?: number | undefined;
  /** Added to the environment of every service. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly logLevel?: string | undefined;
  readonly otlpEndpoint?: string | undefined;
  /** How often JetStream syncs to disk, as nats-server writes it: `always`; default: its own, 2 minutes. */
  readonly syncInterval?: string | undefined;
  /** Processes that die are started again; default true. */
  readonly restart?: boolean | undefined;
  /** Where the process of a name runs; on loopback of this machine unless given. */
  readonly placeOf?: ((name: string) => Place) | undefined;
  /** More flags for the service of a name: they count in place of those that the cluster gives it. */
  readonly argsOf?: ((name: string) => readonly string[]) | undefined;
  /** Only nats-server is started: for what brings its own services. */
  readonly natsOnly?: boolean | undefined;
  readonly report?: ((event: ClusterEvent) => void) | undefined;
  /** Aborting it while the cluster starts ends what has started. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Starts a cluster on this machine, with NATS servers of its own on loopback, and waits until every agent has registered.
 * What an earlier cluster in the folder has left running is ended first. Nothing is left running if this fails.
 *
 * @throws {FolderInUseError} a cluster runs in the folder
 * @throws {StartError} a process did not start; the message has the end of its log
 * @throws {Error} there is no nats-server, it is too old for what is asked, the port is taken, or the folder unusable
 */
export async function startLocalCluster(options: LocalClusterOptions): Promise<LocalCluster> {
  const { report = () => undefined, signal } = options;
  const paths = clusterPaths(options.dir);
  makeFolders(paths);
  const release = claimFolder(paths.lock);
  let cluster: LocalCluster | undefined;
  try {
    await endRecorded(readLocalContext(paths.context)?.processes ?? [], report);
    rmSync(paths.context, { force: true });
    cluster = await plan(options, paths, report, release);
    signal?.throwIfAborted();
    await cluster.start(signal);
    return cluster;
  } catch (error) {
    if (cluster === undefined) release();
    else await cluster.stop(); // which gives the folder back: whoever has it by then must keep it
    throw error;
  }
}

async function plan(
  options: LocalClusterOptions,
  paths: ClusterPaths,
  report: (event: ClusterEvent) => void,
  release: () => void,
): Promise<LocalCluster> {
  const natsServer = await resolveNatsServer();
  const { cluster = 'main', syncInterval, natsOnly = false, restart = true, placeOf = () => thisMachine } = options;
  const { natsServers = 1, registries = 1, masters = 1, allocators = 1, argsOf = () => [] } = options;
  requireAble(natsServer, { servers: natsServers, syncInterval });
  const names = natsServers === 1 ? ['nats-server'] : namesOf('nats', natsServers);
  const addresses = await chooseAddresses(
    names.map((name) => ({ name, place: placeOf(name) })),
    options.port,
  );
  const token = randomBytes(24).toString('base64url');
  const settings: ServiceSettings = { ...options, nats: addresses.map(natsUrl).join(','), token, cluster };
  const control = { registries, masters, allocators, replicas: natsServers };
  const placed = (programs: readonly Program[]): Program[] =>
    programs.map((one) => within(placeOf(one.name), { ...one, args: [...one.args, ...argsOf(one.name)] }));
  return new LocalCluster({
    paths,
    nats: settings.nats,
    token,
    cluster,
    servers: natsServerPrograms(addresses, { binary: natsServer.path, token, syncInterval }, paths),
    control: natsOnly ? [] : placed(controlPrograms(control, settings, paths)),
    agents: natsOnly ? [] : placed(agentPrograms(options, settings, paths)),
    restart,
    report,
    release,
    purge: () => purgeFolder(paths),
  });
}

function agentPrograms(options: LocalClusterOptions, settings: ServiceSettings, paths: ClusterPaths): Program[] {
  const { agents = 1, attributes } = options;
  if (agents === 0) return [];
  const { resources } = options;
  const each =
    resources === undefined ? splitResources(measureMachine(paths.dir), agents) : Array<string>(agents).fill(resources);
  return each.map((text, index) =>
    agentProgram({ name: `agent-${index + 1}`, resources: text, attributes }, settings, paths),
  );
}

function measureMachine(dir: string): Machine {
  const disk = statfsSync(dir);
  const allowed = process.constrainedMemory(); // 0 or beyond all memory where there is no limit
  const memoryBytes = allowed > 0 ? Math.min(allowed, totalmem()) : totalmem();
  return { cpus: availableParallelism(), memoryBytes, diskBytes: disk.bsize * disk.bavail };
}
