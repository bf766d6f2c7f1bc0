import { decode, encode, mesobus } from '@mesobus/protos';
import test from 'ava';
import { commandsIn, Harness, type Sent } from './harness.ts';

type OperatorCall = mesobus.v1.OperatorCall.$Properties;

const operate = (h: Harness, properties: OperatorCall): Sent[] => {
  const bytes = encode(mesobus.v1.OperatorCall, { callId: 'o1', ...properties });
  return h.step({ kind: 'operator_call', principal: 'ops', call: decode(mesobus.v1.OperatorCall, bytes), token: 'o' });
};

/** `pause t1` for every such command. */
const pausesIn = (sent: readonly Sent[]): string[] =>
  commandsIn(sent).flatMap(({ pauseTask, resumeTask }) => [
    ...(pauseTask ? [`pause ${pauseTask.task?.taskId}`] : []),
    ...(resumeTask ? [`resume ${resumeTask.task?.taskId}`] : []),
  ]);

test('an operator pauses a task and resumes it, each by a numbered command', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  const task = { frameworkId, taskId: 't1' };
  const paused = operate(h, { pauseTask: { task } });
  t.deepEqual(pausesIn(paused), ['pause t1']);
  t.is(commandsIn(paused)[0]?.number, 2);
  t.true(paused.some(({ kind }) => kind === 'accept_operator'));
  t.deepEqual(pausesIn(operate(h, { callId: 'o2', resumeTask: { task } })), ['resume t1']);
});

test('a call that is repeated does not undo what others wanted meanwhile', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  const task = { frameworkId, taskId: 't1' };
  operate(h, { callId: 'p', pauseTask: { task } });
  operate(h, { callId: 'r', resumeTask: { task } });
  const again = operate(h, { callId: 'p', pauseTask: { task } });
  t.deepEqual(pausesIn(again), []);
  t.true(again.some(({ kind }) => kind === 'accept_operator'));
});

test('a task that is unknown, has ended or is being killed is not paused, and the refusal says so', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  const refusal = (taskId: string): unknown => {
    const sent = operate(h, { callId: '', pauseTask: { task: { frameworkId, taskId } } });
    t.deepEqual(pausesIn(sent), []);
    return sent.find(({ kind }) => kind === 'refuse');
  };
  t.like(refusal('other'), { code: 'call_invalid', subject: 'other' });
  operate(h, { callId: 'k', killTask: { task: { frameworkId, taskId: 't1' } } });
  t.like(refusal('t1'), { code: 'call_invalid', why: 'it is being killed' });
});

let calls = 0;
const ask = (h: Harness, properties: mesobus.v1.SchedulerCall.$Properties, principal = 'p1'): string[] => {
  const about = { callId: `pause-${++calls}`, instanceId: 'i1', generation: 1, ...properties };
  const call = decode(mesobus.v1.SchedulerCall, encode(mesobus.v1.SchedulerCall, about));
  const sent = h.step({ kind: 'scheduler_call', principal, call, token: 'c' });
  const answers = sent.flatMap((effect) => {
    if (effect.kind === 'accept_call') return ['accepted'];
    return effect.kind === 'refuse_call' ? [effect.code] : [];
  });
  return [...pausesIn(sent), ...answers];
};

test("a scheduler pauses its own tasks, and nobody else's", (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  const task = { frameworkId, taskId: 't1' };
  t.deepEqual(ask(h, { pauseTask: { task } }), ['pause t1', 'accepted']);
  t.deepEqual(ask(h, { resumeTask: { task } }), ['resume t1', 'accepted']);
  t.deepEqual(ask(h, { pauseTask: { task } }, 'p2'), ['framework_not_yours']);
  t.deepEqual(ask(h, { pauseTask: { task }, instanceId: 'other' }), ['instance_superseded']);
  t.deepEqual(ask(h, { pauseTask: { task: { frameworkId: 'none', taskId: 't1' } } }), ['framework_unknown']);
  t.deepEqual(ask(h, { pauseTask: { task: { frameworkId, taskId: 'none' } } }), ['call_invalid']);
});
