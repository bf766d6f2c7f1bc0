import type { NatsConnection, ServerInfo } from '@nats-io/transport-node';
import test from 'ava';
import { requireFitServer } from '../src/shell/fit-server.ts';

const server = (info: Partial<ServerInfo>): NatsConnection =>
  ({ info: { version: '2.14.0', jetstream: true, max_payload: 1_048_576, ...info } }) as NatsConnection;

const cases = [
  ['2.9.10', 1, undefined],
  ['2.9.10', 3, /nats-server 2\.9\.10.*upgrade it to 2\.9\.21/],
  ['2.9.20', 3, /two masters could both win/],
  ['2.9.21', 3, undefined],
  ['2.10.0', 3, undefined],
  ['2.14.0-RC.1', 3, undefined],
  ['unheard-of', 3, /with 3 replicas on nats-server unheard-of/],
] as const;
for (const [version, replicas, refusal] of cases) {
  test(`nats-server ${version} is ${refusal === undefined ? 'fit' : 'unfit'} for ${replicas} replicas`, (t) => {
    if (refusal === undefined) t.notThrows(() => requireFitServer(server({ version }), replicas));
    else t.throws(() => requireFitServer(server({ version }), replicas), { message: refusal });
  });
}

test('a server without JetStream is refused with the line that mends it', (t) => {
  t.throws(() => requireFitServer(server({ jetstream: false }), 1), { message: /JetStream is off; add `jetstream \{/ });
});

test('a server whose messages are too small for entries is refused', (t) => {
  t.throws(() => requireFitServer(server({ max_payload: 65_536 }), 1), { message: /max_payload is 65536/ });
});
