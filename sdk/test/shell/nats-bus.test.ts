import { mesobus } from '@mesobus/protos';
import { connectNats, type NatsBus, type NatsOptions } from '@mesobus/sdk/bus';
import { DisconnectedError } from '@mesobus/sdk/errors';
import { startNatsCluster, startNatsServer, type TestNatsServer } from '@mesobus/sdk/testing';
import anyTest, { type TestFn } from 'ava';
import { busContract } from '../bus/contract.ts';

const test = anyTest as TestFn<unknown>;
const { FileData, FileRequest } = mesobus.v1;
const echo = { subject: 'echo', request: FileRequest, reply: FileData };
const limits = { maxFrameBytes: 8192, maxMessageBytes: 200_000 };
let shared: TestNatsServer;

test.before(async () => {
  shared = await startNatsServer({ maxPayload: limits.maxFrameBytes * 2 });
});
test.after.always(() => shared?.stop());

const connect = (server: TestNatsServer, options: Partial<NatsOptions> = {}): Promise<NatsBus> =>
  connectNats({ servers: server.url, name: 'test', reconnectWaitMs: 20, jitterMs: 5, ...options });

/** Resolves when the bus says so. */
const connection = (bus: NatsBus, wanted: boolean): Promise<void> =>
  new Promise((resolve) => {
    const stop = bus.onConnection((connected) => {
      if (connected === wanted) {
        queueMicrotask(() => stop());
        resolve();
      }
    });
  });

busContract(test, async () => {
  const open = new Set<NatsBus>();
  const connectOne = async (name: string): Promise<NatsBus> => {
    const bus = await connect(shared, { name, maxMessageBytes: limits.maxMessageBytes });
    open.add(bus);
    return bus;
  };
  const raw = await connectOne('raw');
  return {
    ...limits,
    connect: connectOne,
    inject: async (subject, bytes) => {
      raw.connection.publish(subject, bytes);
      await raw.flush();
    },
    close: async () => {
      await Promise.all([...open].map((bus) => bus.close()));
    },
  };
});

test('after a restart of the server the buses connect again and serve as before', async (t) => {
  await using server = await startNatsServer();
  const [serving, client] = [await connect(server), await connect(server)];
  t.teardown(() => Promise.all([serving.close(), client.close()]));
  serving.serve(echo, (delivery) => delivery.reply({ data: Buffer.from(delivery.message.path) }));
  await serving.flush();
  await server.kill();
  await Promise.all([connection(serving, false), connection(client, false)]);
  client.publish(echo, { path: 'dropped' });
  const waiting = client.request(echo, { path: 'waited' }, { timeoutMs: 30_000 }).catch((error: Error) => error.name);
  const flushed = serving.flush();
  await server.restart();
  await Promise.all([connection(serving, true), connection(client, true), flushed]);
  await waiting; // answered, or told that nobody serves if the client was back first
  const { message } = await client.request(echo, { path: 'again' }, { timeoutMs: 30_000 });
  t.is(Buffer.from(message.data).toString(), 'again');
});

test('a server that cannot be reached is named, with the cause and what to do', async (t) => {
  const error = await t.throwsAsync(
    connectNats({ servers: 'nats://user:secret@127.0.0.1:9', name: 'test', maxWait: 2000 }),
    { instanceOf: DisconnectedError },
  );
  t.is(
    error.message,
    'Cannot connect to NATS at nats://127.0.0.1:9: connection refused; tried for 2000 ms; start a nats-server there, or correct the address',
  );
});

test('a server that comes up within the wait is connected to', async (t) => {
  await using server = await startNatsServer();
  await server.kill();
  const connecting = connect(server, { maxWait: 30_000 });
  await server.restart();
  const bus = await connecting;
  t.true(bus.connected);
  await bus.close();
});

test('refused credentials are told at once', async (t) => {
  await using server = await startNatsServer({ token: 'right' });
  await t.throwsAsync(connect(server, { token: 'wrong', maxWait: 60_000 }), { message: /refuses the credentials/ });
  const bus = await connect(server, { token: 'right' });
  t.true(bus.connected);
  await bus.close();
});

test('credentials that every server of a cluster refuses are told at once', async (t) => {
  await using servers = await startNatsCluster({ token: 'right' });
  const connecting = connectNats({ servers: servers.urls, token: 'wrong', name: 'test', maxWait: 60_000 });
  await t.throwsAsync(connecting, { message: /refuses the credentials/ });
});

test('nobody is made to answer anywhere but to an inbox', async (t) => {
  await using server = await startNatsServer();
  const [serving, client] = [await connect(server), await connect(server)];
  t.teardown(() => Promise.all([serving.close(), client.close()]));
  let served = 0;
  serving.serve(echo, (delivery) => {
    served += 1;
    delivery.reply({ data: Buffer.from(delivery.message.path) });
  });
  await serving.flush();
  const overheard: Uint8Array[] = [];
  client.connection.subscribe('echo', { callback: (_, message) => void overheard.push(message.data) });
  const victims: string[] = [];
  client.connection.subscribe('victim', { callback: (_, message) => void victims.push(message.subject) });
  await client.request(echo, { path: 'first' }, { timeoutMs: 30_000 });
  client.connection.publish('echo', overheard[0], { reply: 'victim' });
  await client.request(echo, { path: 'second' }, { timeoutMs: 30_000 });
  t.is(served, 2);
  t.deepEqual(victims, []);
});

test('credentials that cannot be read are named', async (t) => {
  const error = await t.throwsAsync(connect(shared, { credsFile: '/nowhere/a.creds' }));
  t.regex(error.message, /Cannot read the NATS credentials '\/nowhere\/a.creds': ENOENT/);
});

test('a request to a subject that the server forbids is refused at once, and logged', async (t) => {
  const config = `authorization { users: [{ user: a, password: b, permissions: { publish: { deny: ["echo"] }, subscribe: { deny: ["secret"] } } }] }`;
  await using server = await startNatsServer({ config });
  const logged: string[] = [];
  let onLogged = () => {};
  const error = (_: object, message: string) => {
    logged.push(message);
    onLogged();
  };
  const bus = await connect(server, { user: 'a', pass: 'b', logger: { info: () => {}, warn: () => {}, error } });
  t.teardown(() => bus.close());
  const asked = bus.request(echo, { path: 'x' }, { timeoutMs: 60_000 });
  await t.throwsAsync(asked, { code: 'not_authorized' });
  t.deepEqual(logged, ["the NATS server does not let us send to 'echo'"]);
  const told = new Promise<void>((resolve) => {
    onLogged = resolve;
  });
  bus.serve({ ...echo, subject: 'secret' }, () => {});
  await told;
  t.is(logged[1], "the NATS server does not let us listen on 'secret'");
});

test('a handler answers what is under way while its bus closes', async (t) => {
  await using server = await startNatsServer();
  const [serving, client] = [await connect(server), await connect(server)];
  t.teardown(() => client.close());
  let closed: Promise<void> | undefined;
  serving.serve(echo, (delivery) => {
    closed ??= serving.close();
    delivery.reply({ data: Buffer.from('ok') });
  });
  await serving.flush();
  const { message } = await client.request(echo, { path: 'x' }, { timeoutMs: 30_000 });
  t.is(Buffer.from(message.data).toString(), 'ok');
  await closed;
  t.false(serving.connected);
});

test('a bus whose server is gone closes without waiting for it', async (t) => {
  await using server = await startNatsServer();
  const bus = await connect(server);
  await server.kill();
  await connection(bus, false);
  const pending = t.throwsAsync(bus.request(echo, { path: 'x' }, { timeoutMs: 60_000 }), {
    instanceOf: DisconnectedError,
  });
  await bus.close();
  await pending;
});
