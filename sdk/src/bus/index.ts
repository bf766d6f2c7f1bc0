export * from './bus.ts';
export * from './clock.ts';
export { EnvelopeBus, type EnvelopeBusOptions } from './envelope-bus.ts';
export * from './epoch-gate.ts';
export * from './logger.ts';
export * from './memory-bus.ts';
export * from './nats-bus.ts';
export * from './subjects.ts';
export type { Frame, Transport, TransportListener } from './transport.ts';
