import { decode, encode, mesobus } from '@mesobus/protos';
import test from 'ava';
import { commandsIn, eventsIn, Harness, whyRefused } from './harness.ts';

const call = (properties: mesobus.v1.OperatorCall.$Properties): mesobus.v1.OperatorCall =>
  decode(mesobus.v1.OperatorCall, encode(mesobus.v1.OperatorCall, { callId: 'o1', ...properties }));

const operate = (h: Harness, properties: mesobus.v1.OperatorCall.$Properties) =>
  h.step({ kind: 'operator_call', principal: 'ops', call: call(properties), token: 'o' });

test('an operator kills a task, once however often it is asked', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  const killTask = { task: { frameworkId, taskId: 't1' } };
  const sent = operate(h, { killTask });
  t.deepEqual(
    commandsIn(sent).map((command) => command.killTask?.task?.taskId),
    ['t1'],
  );
  t.true(sent.some(({ kind }) => kind === 'accept_operator'));
  const again = operate(h, { killTask });
  t.deepEqual(commandsIn(again), []);
  t.true(again.some(({ kind }) => kind === 'accept_operator'));
});

test('an operator is told of a task that does not exist', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  const sent = operate(h, { killTask: { task: { frameworkId, taskId: 'other' } } });
  const refusal = sent.find((effect) => effect.kind === 'refuse');
  t.like(refusal, { code: 'call_invalid', subject: 'other' });
});

test('an operator call that is empty or unknown is refused', (t) => {
  const h = new Harness();
  t.like(
    operate(h, {}).find(({ kind }) => kind === 'refuse'),
    { code: 'call_invalid' },
  );
});

test('a framework that an operator removes is told, so that it does not wait for ever', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  const sent = operate(h, { call: { type: 31, teardown: { frameworkId: { value: frameworkId } } } });
  t.true(eventsIn(sent).some(({ error }) => /removed.*operator/.test(error?.message ?? '')));
});

test('an operator who has not heard that a framework was removed asks again, and is told that it is', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  for (const id of [frameworkId, frameworkId, 'nobody']) {
    const sent = operate(h, { call: { type: 31, teardown: { frameworkId: { value: id } } } });
    t.is(whyRefused(sent), id === frameworkId ? 'accepted' : 'framework_unknown');
  }
  t.is(h.records.filter(({ framework }) => framework?.removedAtMs).length, 1);
});

test('only so many removed frameworks are remembered: the oldest leaves with its tasks', (t) => {
  const h = new Harness({ maxCompletedFrameworks: 1 });
  const { frameworkId: first } = h.launched();
  operate(h, { call: { type: 31, teardown: { frameworkId: { value: first } } } });
  t.is(h.state.ledger.frameworks.get(first)?.tasks.size, 1);
  const second = h.framework();
  operate(h, { call: { type: 31, teardown: { frameworkId: { value: second } } } });
  t.false(h.state.ledger.frameworks.has(first));
  t.true(h.state.ledger.frameworks.has(second));
});
