// One trace follows an offer through every process, and goes on when one of them is killed. The framework is in this
// process; the spans of all of them are put together by a receiver.
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { LocalCluster } from '@mesobus/cli/local-cluster';
import type { TaskStatus } from '@mesobus/sdk/scheduler';
import { inSpan, parseTraceparent, startTracing, type Tracing, traceparentOf } from '@mesobus/sdk/service';
import { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver } from '@mesobus/sdk/testing';
import test, { type ExecutionContext } from 'ava';
import { clusterFor, envOf, Happenings, mesobus, runOne, schedulerFor } from './in-cluster.ts';
import { isWhole, lineage, problemsOf, traceOfTask } from './trace-tree.ts';

let receiver: OtlpReceiver;
let tracing: Tracing;

test.before(async () => {
  receiver = await startOtlpReceiver();
  tracing = await startTracing({ service: 'framework', instance: 'test', endpoint: receiver.endpoint });
});
test.after.always(async () => {
  await tracing?.shutdown();
  await receiver?.stop();
});

const traced = (t: ExecutionContext, settings = {}): Promise<LocalCluster> => {
  t.timeout(180_000);
  return clusterFor(t, { otlpEndpoint: receiver.endpoint, ...settings });
};

/** The trace of a task as soon as it is complete: each process sends its spans on its own time. */
async function traceOf(t: ExecutionContext, taskId: string, updates: number): Promise<readonly ReceivedSpan[]> {
  await tracing.flush();
  const whole = (all: readonly ReceivedSpan[]): boolean => isWhole(traceOfTask(all, taskId), updates);
  await receiver.waitFor(whole, { timeoutMs: 60_000 }).catch((error: unknown) => {
    t.log(problemsOf(traceOfTask(receiver.spans(), taskId)).join('\n'));
    throw error;
  });
  const trace = traceOfTask(receiver.spans(), taskId);
  t.deepEqual(problemsOf(trace), []);
  return trace;
}

const ofUpdate = (trace: readonly ReceivedSpan[]): unknown[] =>
  trace.filter(({ name }) => name === 'status update').map(({ attributes }) => attributes['mesobus.task_state']);

test.serial('a launch is one tree from allocate to acknowledge, across all processes, in their order', async (t) => {
  const cluster = await traced(t);
  const { statuses } = await runOne(t, cluster, { id: 'launched', command: 'true' });
  await statuses.find(({ state }) => state === 'TASK_FINISHED');
  const trace = await traceOf(t, 'launched', 3);
  t.deepEqual(ofUpdate(trace).sort(), ['TASK_FINISHED', 'TASK_RUNNING', 'TASK_STARTING']);
  t.deepEqual(lineage(trace, 'start container'), ['allocate', 'offer', 'accept', 'run task', 'start container']);
  t.deepEqual(lineage(trace, 'commit'), ['allocate', 'offer', 'accept', 'commit']);
  t.deepEqual(lineage(trace, 'resourceOffers'), ['allocate', 'offer', 'resourceOffers']);
  t.deepEqual(lineage(trace, 'acknowledge update').slice(-3), ['run task', 'status update', 'acknowledge update']);
  t.deepEqual([...new Set(trace.map(({ service }) => service))].sort(), [
    'mesobus-agent',
    'mesobus-framework',
    'mesobus-master',
  ]);
  const starts = ['allocate', 'offer', 'resourceOffers', 'accept', 'run task', 'start container'].map(
    (name) => trace.find((span) => span.name === name)?.startTimeUnixNano ?? 0n,
  );
  t.deepEqual(
    starts,
    starts.toSorted((a, b) => Number(a - b)),
  );
});

test.serial('the command `run` is traced as any framework is', async (t) => {
  const cluster = await traced(t);
  const otlp = { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint };
  const run = await mesobus(t, ['run', '--name', 'by-command', '--', 'true'], { ...envOf(cluster), ...otlp });
  t.is(run.exitCode, 0, run.stderr);
  const launched = (all: readonly ReceivedSpan[]) =>
    all.find(({ name, service }) => name === 'statusUpdate' && service === 'mesobus-cli');
  const spans = await receiver.waitFor((all) => launched(all) !== undefined, { timeoutMs: 60_000 });
  const trace = await traceOf(t, String(launched(spans)?.attributes['mesobus.task_id']), 3);
  t.true(trace.some(({ name, service }) => name === 'accept' && service === 'mesobus-cli'));
});

test.serial(
  'an offer that is declined is a tree too, where it is sampled, and else it is nothing at all',
  async (t) => {
    const cluster = await traced(t, { env: { MESOBUS_TRACE_SAMPLE: '0.5' } });
    const declined = new Happenings<string>();
    const scheduler = await schedulerFor(
      t,
      cluster,
      { name: 'chooser' },
      {
        async resourceOffers(offers) {
          for (const { id } of offers) {
            await scheduler.decline(id, { refuseSeconds: 0 });
            declined.note(id);
          }
        },
      },
    );
    const number = (id: string): number => Number(id.split('-O')[1]);
    const last = await declined.find((id) => number(id) >= 4);
    await scheduler.suppress();
    await tracing.flush();
    const ofOffer = (all: readonly ReceivedSpan[], id: string) => {
      const offer = all.find(({ name, attributes }) => name === 'offer' && attributes['mesobus.offer_id'] === id);
      return all.filter(({ traceId }) => traceId === offer?.traceId);
    };
    const even = `${last.split('-O')[0]}-O${number(last) - (number(last) % 2)}`;
    const whole = (all: readonly ReceivedSpan[]) => ofOffer(all, even).length === 3;
    const spans = await receiver.waitFor(whole, { timeoutMs: 30_000 });
    const trace = ofOffer(spans, even);
    t.deepEqual(problemsOf(trace), []);
    t.deepEqual(lineage(trace, 'resourceOffers'), ['allocate', 'offer', 'resourceOffers']);
    t.is(trace.find(({ name }) => name === 'offer')?.attributes['mesobus.outcome'], 'declined');
    const ids = spans.flatMap(({ attributes }) => String(attributes['mesobus.offer_id'] ?? []));
    const odd = declined.seen.filter((id) => number(id) % 2 === 1);
    t.deepEqual(
      ids.filter((id) => odd.includes(id)),
      [],
    );
  },
);

test.serial('a kill is in the trace of its task, by whom it was asked for, with a link to where', async (t) => {
  const cluster = await traced(t);
  const { scheduler, statuses } = await runOne(t, cluster, { id: 'killed', command: 'exec sleep 1000' });
  await statuses.find(({ state }) => state === 'TASK_RUNNING');
  const asked = await inSpan('the reason', {}, async (span) => {
    await scheduler.kill('killed');
    return traceparentOf(span);
  });
  await statuses.find(({ state }) => state === 'TASK_KILLED');
  const trace = await traceOf(t, 'killed', 3);
  const kill = trace.find(({ name }) => name === 'kill');
  t.deepEqual(lineage(trace, 'kill task'), ['allocate', 'offer', 'accept', 'run task', 'kill task']);
  t.is(kill?.attributes['mesobus.by'], 'framework');
  t.deepEqual(kill?.links, [parseTraceparent(asked)?.spanId]);
  t.deepEqual(trace.find(({ name }) => name === 'kill task')?.links, [kill?.spanId]);
  t.deepEqual(lineage(trace, 'kill'), ['allocate', 'offer', 'accept', 'kill']);
});

test.serial('the trace goes on when the leader, the agent and the framework are killed in the middle', async (t) => {
  const cluster = await traced(t, { masters: 2 });
  const go = path.join(cluster.dir, 'go');
  const statuses = new Happenings<TaskStatus>();
  const lives = new Happenings<string>();
  const command = `until [ -e ${go} ]; do sleep 0.1; done`;
  const settings = { name: 'lasting', failoverTimeoutMs: 600_000 };
  const first = await schedulerFor(t, cluster, settings, {
    async resourceOffers(offers) {
      const [offer, ...rest] = offers;
      if (offer === undefined || existsSync(go) || statuses.seen.length > 0) return;
      const tasks = [{ id: 'outliving', command, resources: { cpus: 0.1, mem: 32 } }];
      await first.launch(offer, tasks, { refuseSeconds: 3600 });
      if (rest.length > 0) await first.decline(rest, { refuseSeconds: 3600 });
    },
    reregistered: () => lives.note('reregistered'),
    statusUpdate: statuses.note,
  });
  await statuses.find(({ taskId, state }) => taskId === 'outliving' && state === 'TASK_STARTING');
  // The spans of what it has just done are still with it.
  const leader = await cluster.leader();
  await cluster.kill(leader.name, 'SIGKILL');
  await lives.find((life) => life === 'reregistered');
  await statuses.find(({ state }) => state === 'TASK_RUNNING');
  // What an agent has not sent of an update that is acknowledged, nobody writes again.
  const isSent = (all: readonly ReceivedSpan[]): boolean =>
    ofUpdate(traceOfTask(all, 'outliving')).includes('TASK_RUNNING');
  await receiver.waitFor(isSent, { timeoutMs: 30_000 });
  await cluster.kill('agent-1', 'SIGKILL');
  await cluster.untilReady('agent-1');
  const frameworkId = first.frameworkId ?? '';
  await first.stop({ failover: true });
  const second = await schedulerFor(t, cluster, { ...settings, id: frameworkId }, { statusUpdate: statuses.note });
  t.is(second.frameworkId, frameworkId);
  writeFileSync(go, '');
  await statuses.find(({ state }) => state === 'TASK_FINISHED');
  const trace = await traceOf(t, 'outliving', 3);
  const root = trace.find(({ name }) => name === 'allocate');
  t.not(
    root?.instance,
    `master-${leader.masterId}`,
    'the dead leader had not sent it: the next one has it from the log',
  );
  const agents = new Set(trace.filter(({ service }) => service === 'mesobus-agent').map(({ instance }) => instance));
  t.is(agents.size, 2);
  t.deepEqual(lineage(trace, 'start container'), ['allocate', 'offer', 'accept', 'run task', 'start container']);
});
