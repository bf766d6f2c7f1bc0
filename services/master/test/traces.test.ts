import test from 'ava';
import type { SpanFact } from '../src/core/index.ts';
import { CallType, commandsIn, Harness, launchOf, type Sent, TaskState, task } from './harness.ts';

const spansIn = (sent: readonly Sent[]): SpanFact[] =>
  sent.flatMap((effect) => (effect.kind === 'span' ? [effect.span] : []));

test('an accepted offer has its spans written, in the trace that its event named', (t) => {
  const h = new Harness();
  const { agentId } = h.launched();
  t.truthy(agentId);
  const spans = spansIn(h.sent);
  t.deepEqual(
    spans.map(({ name }) => name),
    ['allocate', 'offer', 'accept', 'commit'],
  );
  const [allocate, offer, accept] = spans;
  t.is(offer?.parent, allocate?.identity);
  t.is(accept?.parent, offer?.identity);
  t.is(commandsIn(h.sent)[0]?.traceparent, accept?.identity);
});

test('of offers that are declined one in so many is traced, and its scheduler is told so', (t) => {
  const h = new Harness({ traceSample: 0.5 });
  const frameworkId = h.framework();
  const agentId = h.agent();
  const flags: string[] = [];
  for (let i = 0; i < 4; i++) {
    const offerId = h.offer(frameworkId, agentId);
    flags.push(h.state.offers.get(offerId)?.trace.slice(-2) ?? '');
    h.call({ frameworkId }, { type: CallType.DECLINE, decline: { offerIds: [{ value: offerId }] } });
  }
  t.deepEqual(flags, ['00', '01', '00', '01']);
  t.is(spansIn(h.sent).filter(({ name }) => name === 'offer').length, 2);
});

test('offers accepted together are in the trace of the first, and the others say where', (t) => {
  const h = new Harness();
  const frameworkId = h.framework();
  const agentId = h.agent();
  const offerIds = [h.offer(frameworkId, agentId, 'cpus:1'), h.offer(frameworkId, agentId, 'cpus:1')];
  const sent = h.accept(frameworkId, offerIds, [task('t1', agentId, { ask: 'cpus:1' })]);
  const offers = spansIn(sent).filter(({ name }) => name === 'offer');
  const accept = spansIn(sent).find(({ name }) => name === 'accept');
  t.deepEqual(
    offers.map(({ link }) => link),
    [undefined, accept?.identity],
  );
  t.is(accept?.parent, offers[0]?.identity);
});

test('a leader writes the first spans again of a launch that its predecessor made just before its end', (t) => {
  const before = new Harness();
  const { frameworkId } = before.launched();
  const first = spansIn(before.sent);
  const next = Harness.after(before);
  next.subscribe({}, { frameworkId });
  next.register('a1', {});
  const sent = next.update('a1', frameworkId, 't1', 1, TaskState.TASK_RUNNING);
  const again = spansIn(sent).filter(({ attributes }) => attributes?.['mesobus.rewritten']);
  const shape = ({ name, identity, parent }: SpanFact) => ({ name, identity, parent });
  t.deepEqual(again.map(shape), first.map(shape));
  t.false(
    spansIn(next.update('a1', frameworkId, 't1', 2, TaskState.TASK_FINISHED)).some(({ name }) => name === 'offer'),
  );
});

test('a kill is a span in the trace of its task, with a link to whoever asked, and the agent goes on below it', (t) => {
  const h = new Harness();
  const { frameworkId } = h.launched();
  const launch = spansIn(h.sent).find(({ name }) => name === 'accept');
  const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;
  const sent = h.call({ frameworkId, traceparent }, { type: CallType.KILL, kill: { taskId: { value: 't1' } } });
  const kill = spansIn(sent).find(({ name }) => name === 'kill');
  t.is(kill?.parent, launch?.identity);
  t.is(kill?.link, traceparent);
  t.is(commandsIn(sent).find(({ killTask }) => killTask)?.traceparent, kill?.identity);
});

test('a line of the log about a call has the ids of its trace, and none if the caller says nonsense', (t) => {
  const h = new Harness();
  const frameworkId = h.framework();
  const accept = { offerIds: [{ value: 'nowhere' }], operations: [launchOf([task('t1', h.agent())])] };
  const lineOf = (traceparent: string) => {
    const sent = h.call({ frameworkId, traceparent }, { type: CallType.ACCEPT, accept });
    return sent.flatMap((effect) => (effect.kind === 'log' ? [effect.fields] : []))[0];
  };
  t.like(lineOf(`00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`), { trace_id: 'a'.repeat(32), span_id: 'b'.repeat(16) });
  t.is(lineOf('nonsense')?.['trace_id'], undefined);
});
