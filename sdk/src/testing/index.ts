export { mayReplicate, startNatsCluster, type TestNatsCluster } from './nats-cluster.ts';
export * from './nats-server.ts';
export { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver } from './otlp-receiver.ts';
