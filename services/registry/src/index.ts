export type { LeaseState } from './core/leadership.ts';
export { ledgerHash } from './core/ledger-hash.ts';
export type { ReadEntry } from './core/log-reader.ts';
export { type FollowOptions, type LogFollower, type LogTools, UnfitLogError } from './shell/follow.ts';
export type { LeadOptions, LostTerm, Witness } from './shell/lead.ts';
export type { Leadership, LostLeadership } from './shell/leadership.ts';
export type { AppendOutcome, LogStore, Tailer, TailOptions } from './shell/log-store.ts';
export { followLog, type Log, logOn, type OpenLogOptions, openLog } from './shell/open-log.ts';
export { UnfitServerError } from './shell/server-check.ts';
