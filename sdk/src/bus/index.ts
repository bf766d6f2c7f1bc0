export * from './bus.ts';
export * from './clock.ts';
export * from './epoch-gate.ts';
export * from './logger.ts';
export * from './memory-bus.ts';
export * from './nats-bus.ts';
export * from './subjects.ts';
