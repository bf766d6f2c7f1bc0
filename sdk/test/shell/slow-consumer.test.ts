// A scheduler that takes nothing from its connection until the NATS server drops it.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { mesos } from '@mesobus/protos';
import { connectNats } from '@mesobus/sdk/bus';
import { startNatsServer } from '@mesobus/sdk/testing';
import test from 'ava';
import { FakeLeader } from '../scheduler/fake-leader.ts';

const program = fileURLToPath(new URL('paused-scheduler.ts', import.meta.url));
const { MESSAGE } = mesos.v1.scheduler.Event.Type;

const message = (agentId: string, bytes: number) => ({
  type: MESSAGE,
  message: { agentId: { value: agentId }, executorId: { value: 'e' }, data: new Uint8Array(bytes) },
});

test('a scheduler whose connection the server drops because it is slow comes back and hears what follows', async (t) => {
  t.timeout(60_000);
  const server = await startNatsServer({ config: 'max_pending: 2MB\nwrite_deadline: "2s"' });
  t.teardown(() => server.stop());
  const bus = await connectNats({ servers: server.url, name: 'leader' });
  t.teardown(() => bus.close());
  const leader = new FakeLeader({ connect: () => bus });
  const child = spawn(process.execPath, ['--conditions=mesobus-source', program, server.url], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => void child.kill('SIGKILL'));
  const lines: { kind: string; agentId?: string }[] = [];
  const waiting: { test: (line: (typeof lines)[number]) => boolean; resolve: () => void }[] = [];
  createInterface({ input: child.stdout }).on('line', (text) => {
    const line = JSON.parse(text);
    lines.push(line);
    for (const { test: isIt, resolve } of waiting) if (isIt(line)) resolve();
  });
  const heard = (isIt: (line: (typeof lines)[number]) => boolean): Promise<void> =>
    new Promise((resolve) => {
      if (lines.some(isIt)) resolve();
      else waiting.push({ test: isIt, resolve });
    });
  const beating = setInterval(() => leader.beat(), 300);
  t.teardown(() => clearInterval(beating));

  await heard(({ kind }) => kind === 'registered');
  child.kill('SIGSTOP');
  for (let i = 0; i < 64; i += 1) {
    leader.send(message(`before ${i}`, 400_000));
    await bus.flush();
  }
  child.kill('SIGCONT');
  await heard(({ kind }) => kind === 'reregistered');
  t.true(lines.filter(({ kind }) => kind === 'message').length < 64);
  leader.send(message('after', 10));
  await heard(({ agentId }) => agentId === 'after');
  t.true(leader.callsOf('SUBSCRIBE').length >= 2);
});
