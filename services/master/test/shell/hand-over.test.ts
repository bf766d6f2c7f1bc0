import { openLog } from '@mesobus/registry';
import { type Bus, connectNats, type NatsBus, silentLogger, subjectsOf, systemClock } from '@mesobus/sdk/bus';
import { DeadlineError, NoRespondersError, RefusedError } from '@mesobus/sdk/errors';
import { mayReplicate, startNatsCluster, startNatsServer } from '@mesobus/sdk/testing';
import test, { type ExecutionContext } from 'ava';
import { defaultConfig } from '../../src/core/index.ts';
import { type Contender, contend } from '../../src/shell/contend.ts';
import { CallType, masterInfo } from '../harness.ts';

const subjects = subjectsOf('test');

/** As masters connect, but that a server which hangs is left sooner. */
async function connect(t: ExecutionContext, servers: string | readonly string[]): Promise<NatsBus> {
  const patience = { reconnectWaitMs: 50, jitterMs: 0, pingIntervalMs: 1_000, handshakeTimeoutMs: 1_000 };
  const bus = await connectNats({ servers, name: t.title, ...patience });
  t.teardown(() => bus.close());
  return bus;
}

async function startMaster(
  t: ExecutionContext,
  { bus, masterId, replicas }: { bus: NatsBus; masterId: string; replicas: number },
): Promise<Contender> {
  const log = await openLog({ connection: bus.connection, subjects, replicas });
  const config = { ...defaultConfig, masterInfo };
  const shell = { clock: systemClock, wallMs: Date.now, logger: silentLogger };
  const master = contend({
    log,
    bus,
    subjects,
    masterId,
    config,
    ...shell,
    onFailed: (error) => t.fail(String(error)),
  });
  t.teardown(() => master.stop());
  return master;
}

/** Makes a framework of its own, which is a durable fact, asking again and again; gives the epoch of who did it. */
async function subscribe(bus: Bus, name: string): Promise<number> {
  const subscribed = { type: CallType.SUBSCRIBE, subscribe: { frameworkInfo: { user: 'u', name } } };
  const calls = [{ callId: name, instanceId: name, generation: 0, call: subscribed }];
  for (;;) {
    try {
      const answer = await bus.request(subjects.masterScheduler.of('p1'), { calls }, { timeoutMs: 1_000 });
      if (answer.message.replies[0]?.accepted) return answer.epoch.epoch;
    } catch (error) {
      const refused = error instanceof RefusedError && error.transient;
      if (!refused && !(error instanceof NoRespondersError) && !(error instanceof DeadlineError)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

test('a clean stop hands over: the next leader commits what is asked at the same moment', async (t) => {
  const server = await startNatsServer({ jetstream: true });
  t.teardown(() => server.stop());
  const client = await connect(t, server.url);
  const start = async (masterId: string): Promise<Contender> =>
    startMaster(t, { bus: await connect(t, server.url), masterId, replicas: 1 });
  let leader = await start('m0');
  t.is(await subscribe(client, 'before'), 1);
  for (let epoch = 2; epoch <= 6; epoch += 1) {
    const next = await start(`m${epoch}`);
    await new Promise((resolve) => setImmediate(resolve));
    const startedAt = performance.now();
    const stopped = leader.stop();
    const answered = await subscribe(client, `after-${epoch}`);
    const tookMs = performance.now() - startedAt;
    t.is(answered, epoch);
    t.log(`${tookMs.toFixed(1)} ms from the stop to the next leader's first commit`);
    await stopped;
    leader = next;
  }
});

test('a NATS server that hangs replaces nobody: the leader goes to another server', async (t) => {
  t.timeout(90_000);
  const { servers, urls, stop } = await startNatsCluster({ jetstream: true });
  t.teardown(stop);
  const client = await connect(t, urls);
  const open = () => openLog({ connection: client.connection, subjects, replicas: 3 });
  if (!(await mayReplicate())) {
    await t.throwsAsync(open, { name: 'UnfitServerError', message: /with 3 replicas/ });
    return;
  }
  await open();
  const info = await client.connection.request(`$JS.API.STREAM.INFO.KV_${subjects.logBucket}`);
  const streamLeader = info.json<{ cluster: { leader: string } }>().cluster.leader;
  // Each is given one server and learns of the others. The one that hangs has no part in electing the stream's leader.
  const [leading, other] = servers.filter((_, at) => `nats-${at + 1}` !== streamLeader);
  const start = async (masterId: string, url = ''): Promise<Contender> =>
    startMaster(t, { bus: await connect(t, [url]), masterId, replicas: 3 });
  await start('m1', leading?.url);
  const asking = await connect(t, [other?.url ?? '']);
  t.is(await subscribe(asking, 'before'), 1);
  const standby = await start('m2', other?.url);

  const pid = leading?.pid ?? 0;
  process.kill(pid, 'SIGSTOP');
  t.teardown(() => process.kill(pid, 'SIGCONT'));
  const startedAt = performance.now();
  t.is(await subscribe(asking, 'after'), 1);
  t.log(`nothing was committed for ${Math.round(performance.now() - startedAt)} ms`);
  t.is(standby.leadership, undefined);
});
