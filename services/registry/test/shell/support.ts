import { mesobus } from '@mesobus/protos';
import { type Clock, connectNats, type NatsBus, subjectsOf } from '@mesobus/sdk/bus';
import { mayReplicate, startNatsServer, type TestNatsServer } from '@mesobus/sdk/testing';
import type { ExecutionContext } from 'ava';
import { type Leadership, type Log, type LogFollower, openLog } from '../../src/index.ts';

export const subjects = subjectsOf('test');

/** A NATS server and connections to it that end with the test. */
export async function startServer(t: ExecutionContext): Promise<TestNatsServer> {
  const server = await startNatsServer({ jetstream: true });
  t.teardown(() => server.stop());
  return server;
}

export async function connectTo(t: ExecutionContext, server: TestNatsServer): Promise<NatsBus> {
  const bus = await connectNats({ servers: server.url, name: t.title, reconnectWaitMs: 50, jitterMs: 0 });
  t.teardown(() => bus.close());
  return bus;
}

/** @param clock - the machine's unless given */
export async function openTestLog(t: ExecutionContext, server: TestNatsServer, clock?: Clock): Promise<Log> {
  const { connection } = await connectTo(t, server);
  return openLog({ connection, subjects, replicas: 1, ...(clock !== undefined && { clock }) });
}

/** Where the nats-server in use must not keep replicas, a test of them is that they are refused. */
export async function refusesReplicas(t: ExecutionContext): Promise<boolean> {
  if (await mayReplicate()) return false;
  const { connection } = await connectTo(t, await startServer(t));
  const refusal = /with 3 replicas on nats-server 2\.9\.\d+ .*; upgrade it to 2\.9\.21 or newer/;
  await t.throwsAsync(openLog({ connection, subjects, replicas: 3 }), { name: 'UnfitServerError', message: refusal });
  return true;
}

/** A record that adds one framework. */
export const framework = (frameworkId: string): mesobus.v1.Record =>
  new mesobus.v1.Record({ framework: { frameworkId, principal: 'p', info: { user: 'root', name: frameworkId } } });

/** Submits and waits until it is in the log for good; gives the index of the entry. */
export function commit(leadership: Leadership, records: readonly mesobus.v1.Record[]): Promise<number> {
  const wanted = leadership.submit(records, { urgent: true });
  return new Promise((resolve) => {
    leadership.onCommitted((position, index) => {
      if (position >= wanted) resolve(index);
    });
  });
}

/** Resolves when a follower's ledger holds an entry. */
export async function follow(t: ExecutionContext, log: Log, index: number): Promise<LogFollower> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const follower = log.follow({ onEntry: (entry) => entry.index >= index && resolve(), onStopped: reject });
  t.teardown(() => follower.stop());
  await promise;
  return follower;
}

/** Resolves once the lease is as wanted. JetStream may be without a leader for longer than a lease stays fresh. */
export const untilLease = (leadership: Leadership, wanted: Leadership['lease']): Promise<void> =>
  new Promise((resolve) => {
    if (leadership.lease === wanted) resolve();
    leadership.onLease((lease) => lease === wanted && resolve());
  });
