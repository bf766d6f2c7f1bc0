import test from 'ava';
import { judgeServers, judgeStream, type StreamFacts } from '../src/shell/diagnose.ts';
import type { NatsServerFacts } from '../src/shell/nats-servers.ts';

const server = (facts: Partial<NatsServerFacts> = {}): NatsServerFacts => ({
  address: '10.0.0.1:4222',
  name: 'n1',
  version: '2.14.0',
  jetstream: true,
  maxPayload: 1_048_576,
  syncMs: 0,
  ...facts,
});
const three = (facts: Partial<NatsServerFacts> = {}): NatsServerFacts[] => [
  server(),
  server({ name: 'n2' }),
  server({ name: 'n3', ...facts }),
];

const peer = (name: string, facts: object = {}) => ({ name, current: true, offline: false, lag: 0, ...facts });
const stream = (facts: Partial<StreamFacts> = {}): StreamFacts => ({
  stream: 'KV_log',
  exists: true,
  replicas: 3,
  leader: 'n1',
  peers: [peer('n2'), peer('n3')],
  messages: 1,
  bytes: 1,
  differences: '',
  unreadable: '',
  ...facts,
});

test('three current servers that sync with every write leave nothing to say', (t) => {
  t.deepEqual(judgeServers({ reached: three(), unreached: [] }, 3), []);
  t.deepEqual(judgeStream(stream(), 3), []);
});

const servers = [
  ['one of the servers is too old for replicas', three({ version: '2.9.10' }), 3, 'unfit', /upgrade it to 2\.9\.21/],
  ['one of the servers has no JetStream', three({ jetstream: false }), 3, 'unfit', /add `jetstream/],
  ['its messages are too small', [server({ maxPayload: 65_536 })], 1, 'unfit', /1MB or more/],
  ['it syncs every two minutes', three({ syncMs: 120_000 }), 3, 'warning', /sync_interval: always/],
  ['it cannot sync with every write', [server({ version: '2.9.10', syncMs: undefined })], 1, 'warning', /2\.10\.0/],
  ['its monitoring cannot be read', three({ syncMs: undefined }), 3, 'note', /http: 8222/],
  ['there are fewer servers than replicas', [server()], 3, 'warning', /--replicas 1/],
] as const;
for (const [what, reached, replicas, severity, mend] of servers) {
  test(`${what}: ${severity}, with what mends it`, (t) => {
    const findings = judgeServers({ reached, unreached: [] }, replicas);
    t.deepEqual(
      findings.map((finding) => finding.severity),
      [severity],
    );
    t.regex(findings[0]?.mend ?? '', mend);
  });
}

const streams = [
  ['one replica although there are three servers', { replicas: 1, peers: [] }, 'warning', /--replicas 3/],
  ['a replica that lags', { peers: [peer('n2'), peer('n3', { current: false, lag: 7 })] }, 'warning', /caught up/],
  [
    'two replicas that are offline',
    { peers: ['n2', 'n3'].map((n) => peer(n, { offline: true })) },
    'unfit',
    /start these/,
  ],
  ['no leader', { leader: '' }, 'unfit', /start the servers/],
  ['a setting that would drop entries', { differences: 'discard is old, not new' }, 'unfit', /nats stream edit KV_log/],
  ['no permission to look', { exists: false, unreadable: 'Permissions Violation' }, 'unfit', /permission/],
  ['a stream that is not there', { exists: false }, 'note', /start a master/],
] as const;
for (const [what, facts, severity, mend] of streams) {
  test(`a stream with ${what}: ${severity}, with what mends it`, (t) => {
    const [finding, ...others] = judgeStream(stream(facts), 3);
    t.is(finding?.severity, severity);
    t.regex(finding?.mend ?? '', mend);
    t.is(others.length, 0);
  });
}

test('one replica on one server is what a single node has', (t) => {
  t.deepEqual(judgeStream(stream({ replicas: 1, peers: [], leader: '' }), 1), []);
});
