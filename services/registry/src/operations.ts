/* For the tools of operators: what a cluster's books stand on, and whether that is sound. */

export type { BackupSummary } from './shell/back-up.ts';
export { DamagedBackupError } from './shell/backup-file.ts';
export { type Diagnosis, diagnose, type Finding, type StreamFacts } from './shell/diagnose.ts';
export { type NatsServerFacts, usualMonitorPort } from './shell/nats-servers.ts';
export { type BackupOptions, backUp, restore } from './shell/operate-backup.ts';
export { RestoreRefusedError, type RestoreSummary } from './shell/restore.ts';
export { tryWrite } from './shell/try-write.ts';
