import test from 'ava';
import { whereTo } from '../src/connect-cluster.ts';

const env = { MESOBUS_NATS: 'nats://env:4222', MESOBUS_NATS_TOKEN: 'env-token', MESOBUS_CLUSTER: 'env-cluster' };

test('the environment names the cluster', (t) => {
  t.like(whereTo({}, env, '/'), { nats: ['nats://env:4222'], token: 'env-token', cluster: 'env-cluster' });
});

test('a flag goes before the environment', (t) => {
  const flags = { nats: 'nats://flag:4222', token: 'flag-token', cluster: 'flag-cluster' };
  t.like(whereTo(flags, env, '/'), { nats: ['nats://flag:4222'], token: 'flag-token', cluster: 'flag-cluster' });
});

test('without flag, environment and file there is advice on how to start or reach a cluster', (t) => {
  t.throws(() => whereTo({}, {}, '/'), { message: /`mesobus up`.*MESOBUS_NATS=/ });
});
