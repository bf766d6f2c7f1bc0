/* A whole cluster on this machine: for `mesobus up`, for the demo, for tests and benchmarks. */

export { FolderInUseError } from './claim-folder.ts';
export { type ClusterEvent, describeClusterEvent } from './cluster-event.ts';
export { type ClusterPaths, clusterPaths } from './cluster-paths.ts';
export { type LocalContext, type RecordedProcess, readLocalContext } from './context-file.ts';
export type { LocalAgent, LocalCluster } from './local-cluster.ts';
export { logTail } from './log-tail.ts';
export type { Place } from './place.ts';
export { type LocalClusterOptions, startLocalCluster } from './start-local-cluster.ts';
export { type StopRecordedOptions, stopRecordedCluster } from './stop-recorded-cluster.ts';
export { StartError } from './supervised.ts';
export type { Leader } from './who-leads.ts';
