/* For the tools of operators: what a cluster's books stand on, and whether that is sound. */

export { type Diagnosis, diagnose, type Finding, type StreamFacts } from './shell/diagnose.ts';
export { type NatsServerFacts, usualMonitorPort } from './shell/nats-servers.ts';
