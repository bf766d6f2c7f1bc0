import type { mesobus } from '@mesobus/protos';
import { ManualClock } from '@mesobus/sdk/bus';
import { NoRespondersError, RefusedError } from '@mesobus/sdk/errors';
import test from 'ava';
import {
  CallLane,
  maxBatchCalls,
  maxBatchTasks,
  maxWaitingCalls,
  type QueuedCall,
  retryDelayMs,
} from '../../src/scheduler/call-lane.ts';
import { until } from './fake-leader.ts';

type Sent = { readonly ids: string[]; answer(...codes: (RefusedError | undefined)[]): void; fail(error: Error): void };

function setUp() {
  const sent: Sent[] = [];
  const refused: RefusedError[] = [];
  const clock = new ManualClock();
  const send = (calls: readonly QueuedCall[]) => {
    const { promise, resolve, reject } = Promise.withResolvers<mesobus.v1.SchedulerReply[]>();
    const answer = (...codes: (RefusedError | undefined)[]) =>
      resolve(calls.map(({ id: callId }, i) => ({ callId, ...outcomeOf(codes[i]) })) as mesobus.v1.SchedulerReply[]);
    sent.push({ ids: calls.map(({ id }) => id), answer, fail: reject });
    return promise;
  };
  const lane = new CallLane({ clock, random: () => 0.5, send, onRefused: (error) => refused.push(error) });
  lane.open();
  return { lane, sent, refused, clock };
}

const outcomeOf = (refusal: RefusedError | undefined) =>
  refusal === undefined
    ? { accepted: { logIndex: 1 } }
    : { refusal: { code: refusal.code, subject: refusal.subject, message: refusal.message } };

const call = (id: string, tasks = 0): QueuedCall => ({ id, call: {}, tasks, traceparent: '' });

test('one request is under way at a time, and the next takes what has come meanwhile', async (t) => {
  const { lane, sent } = setUp();
  const first = lane.add(call('a'));
  await until(() => sent.length === 1);
  const rest = [lane.add(call('b')), lane.add(call('c'))];
  sent[0]?.answer();
  await first;
  await until(() => sent.length === 2);
  t.deepEqual(
    sent.map(({ ids }) => ids),
    [['a'], ['b', 'c']],
  );
  sent[1]?.answer();
  await Promise.all(rest);
  await lane.idle();
});

test('what failed is sent again in its place before what came later', async (t) => {
  const { lane, sent, clock } = setUp();
  for (const id of ['a', 'b']) lane.add(call(id)).catch(() => undefined);
  await until(() => sent.length === 1);
  lane.add(call('c')).catch(() => undefined);
  sent[0]?.fail(new NoRespondersError('m'));
  await new Promise((resolve) => setImmediate(resolve));
  t.is(sent.length, 1);
  clock.advance(100);
  await until(() => sent.length === 2);
  t.deepEqual(sent[1]?.ids, ['a', 'b', 'c']);
});

test('a pause takes back what is under way, and its late answer counts no more', async (t) => {
  const { lane, sent } = setUp();
  const answered = lane.add(call('a'));
  await until(() => sent.length === 1);
  lane.pause();
  sent[0]?.answer(new RefusedError('instance_superseded', 'F'));
  await new Promise((resolve) => setImmediate(resolve));
  lane.open();
  await until(() => sent.length === 2);
  sent[1]?.answer();
  t.is((await answered).logIndex, 1);
});

test('a request that is too large is sent call by call', async (t) => {
  const { lane, sent } = setUp();
  const calls = ['a', 'b'].map((id) => lane.add(call(id)));
  await until(() => sent.length === 1);
  sent[0]?.fail(new RefusedError('message_too_large', 'm'));
  await until(() => sent.length === 2);
  sent[1]?.fail(new RefusedError('message_too_large', 'm'));
  await t.throwsAsync(calls[0] as Promise<unknown>, { instanceOf: RefusedError });
  await until(() => sent.length === 3);
  sent[2]?.answer();
  await calls[1];
  t.deepEqual(
    sent.map(({ ids }) => ids),
    [['a', 'b'], ['a'], ['b']],
  );
});

test('a request holds no more calls and tasks than allowed', async (t) => {
  const { lane, sent } = setUp();
  const sizes = [
    call('big', maxBatchTasks),
    call('next', 1),
    ...Array.from({ length: maxBatchCalls }, (_, i) => call(`${i}`)),
  ];
  for (const one of sizes) lane.add(one).catch(() => undefined);
  for (let i = 0; i < 3; i += 1) {
    await until(() => sent.length === i + 1);
    sent[i]?.answer();
  }
  t.deepEqual(
    sent.map(({ ids }) => ids.length),
    [1, maxBatchCalls, 1],
  );
});

test('one call more than may wait is refused', async (t) => {
  const { lane } = setUp();
  lane.pause();
  for (let i = 0; i < maxWaitingCalls; i += 1) lane.add(call(`${i}`)).catch(() => undefined);
  await t.throwsAsync(lane.add(call('x')), { instanceOf: RefusedError, message: /already wait/ });
});

test('closing fails what waits and what comes', async (t) => {
  const { lane } = setUp();
  const waiting = lane.add(call('a'));
  const error = new Error('over');
  lane.close(error);
  await t.throwsAsync(waiting, { is: error });
  await t.throwsAsync(lane.add(call('b')), { is: error });
  await lane.idle();
});

test('tries come 100 ms apart at first, then ever later, up to two seconds', (t) => {
  t.deepEqual(
    [1, 2, 3, 9].map((failures) => retryDelayMs(failures, 0.5)),
    [100, 200, 400, 2000],
  );
  t.deepEqual([retryDelayMs(1, 0), retryDelayMs(1, 1)], [75, 125]);
});
