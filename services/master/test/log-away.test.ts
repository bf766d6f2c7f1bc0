// Masters that cannot reach the log, and clocks on the wall that are set while one leads.
import { mesos } from '@mesobus/protos';
import type { Bus } from '@mesobus/sdk/bus';
import test, { type ExecutionContext } from 'ava';
import { resources } from './harness.ts';
import { Masters, subjects } from './masters.ts';

function setup(t: ExecutionContext): Masters {
  const masters = new Masters();
  t.teardown(() => masters.stop());
  return masters;
}

interface Answer {
  readonly frameworkId: string;
  readonly epoch: number;
}

/** A first SUBSCRIBE, asked again each second until it is accepted. */
async function subscribe({ clock }: Masters, bus: Bus, callId: string): Promise<Answer> {
  const call = {
    type: mesos.v1.scheduler.Call.Type.SUBSCRIBE,
    subscribe: { frameworkInfo: { user: 'u', name: callId, failoverTimeout: 3_600 } },
  };
  const calls = [{ callId, instanceId: callId, generation: 0, call }];
  for (;;) {
    const asked = bus.request(subjects.masterScheduler.of('p1'), { calls }, { timeoutMs: 1_000 });
    const answer = await asked.catch(() => undefined);
    const accepted = answer?.message.replies[0]?.accepted;
    if (accepted) return { frameworkId: accepted.frameworkId, epoch: answer?.epoch.epoch ?? 0 };
    await new Promise<void>((resolve) => clock.after(1_000, resolve));
  }
}

test('a master that starts while the log is away waits, and leads as soon as it is there', async (t) => {
  const masters = setup(t);
  const m1 = masters.start('m1', { logAway: true });
  await masters.pass(300_000);
  t.is(m1.contender.leadership, undefined);
  t.deepEqual(m1.failures, []);
  m1.store.back();
  await masters.until(() => masters.leader === m1, 20_000);
  t.deepEqual(m1.failures, []);
});

test('a leader that loses the log alone, and beats, is frozen before another leads, and answers nobody', async (t) => {
  const masters = setup(t);
  const m1 = masters.start('m1');
  await masters.untilLed();
  const m2 = masters.start('m2');
  await masters.pass(1_000);
  const answers: Answer[] = [];
  m1.store.away();
  const awayAt = masters.clock.now();
  void subscribe(masters, masters.network.connect('framework'), 'c1').then((answer) => answers.push(answer));
  await masters.until(() => m1.contender.leadership?.lease === 'frozen', 12_000);
  t.is(m2.contender.leadership, undefined, 'nobody else leads yet');
  await masters.until(() => masters.leader === m2, 20_000);
  t.true(masters.clock.now() - awayAt >= 14_000, 'it beat, so its whole lease counted');
  await masters.until(() => answers.length > 0, 120_000);
  t.deepEqual(
    answers.map(({ epoch }) => epoch),
    [2],
  );
  t.is(m1.contender.leadership, undefined);

  m1.store.back();
  await masters.pass(30_000);
  t.is(masters.leader, m2, 'what is back stands by');
  t.deepEqual(m1.failures, []);
});

for (const [how, offMs] of [
  ['forward', 86_400_000],
  ['back', -86_400_000],
] as const) {
  test(`the clock of a leader is set a day ${how}: agent, framework and leadership stay, and what it says of time`, async (t) => {
    const masters = setup(t);
    const m1 = masters.start('m1');
    await masters.untilLed();
    masters.start('m2');
    const agent = masters.network.connect('agent');
    const info = { hostname: 'a1', resources: resources('cpus:4;mem:4096') };
    const register = { agentName: 'a1', registrationKey: 'k', info };
    const registering = agent.request(
      subjects.masterAgent.of('a1'),
      { incarnation: 'n1', register },
      {
        timeoutMs: 5_000,
      },
    );
    await masters.pass(500);
    const agentId = (await registering).message.registered?.agentId ?? '';
    const framework = masters.network.connect('framework');
    const subscribed = subscribe(masters, framework, 'c1');
    await masters.pass(500);
    const { frameworkId } = await subscribed;

    const connections = async () => {
      const asked = agent.request(subjects.masterQuery.of('p1'), { getConnections: {} }, { timeoutMs: 5_000 });
      await masters.pass(100);
      return (await asked).message.connections;
    };
    const before = (await connections())?.agents[0]?.lastHeardAtMs ?? 0;
    masters.wallOffMs = offMs;
    for (let second = 0; second < 60; second += 5) {
      agent.publish(subjects.heartbeat.of('a1'), { agentId, incarnation: 'n1', cursor: 0 });
      await masters.pass(5_000);
    }
    const after = await connections();
    t.is(masters.leader, m1);
    t.is(m1.contender.leadership?.lease, 'fresh');
    t.like(after?.agents[0], { agentId, connected: true });
    t.is(after?.frameworks[0]?.frameworkId, frameworkId);
    const passedMs = (after?.agents[0]?.lastHeardAtMs ?? 0) - before;
    t.true(passedMs > 40_000 && passedMs < 70_000, `${passedMs} ms by its own clock`);
  });
}
