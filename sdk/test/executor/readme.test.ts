import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { mesos } from '@mesobus/protos';
import test from 'ava';
import { FakeAgent } from './fake-agent.ts';

const { Type } = mesos.v1.executor.Event;
const { TaskState } = mesos.v1;

test('the executor of the guide runs a task, answers, and ends when it is shut down', async (t) => {
  const guide = readFileSync(path.resolve(import.meta.dirname, '../../../docs/executors.md'), 'utf8');
  const [, example] = [...guide.matchAll(/```ts\n([\s\S]*?)```/g)][1] ?? [];
  // Inside the package, so that its imports resolve.
  const folder = mkdtempSync(path.join(import.meta.dirname, '.readme-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'example.ts');
  writeFileSync(file, `${example}\nasync function work(data) { console.log(String(Buffer.from(data))); }\n`);

  const agent = await FakeAgent.start(t);
  const env = { ...process.env, ...agent.env() };
  const child = spawn(process.execPath, ['-C', 'mesobus-source', file], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => void child.kill('SIGKILL'));
  const exited = once(child, 'exit');
  await agent.until(() => agent.subscriptions.length === 1);
  agent.launch('one');
  await agent.until(() => agent.statuses.length === 2);
  t.deepEqual(
    agent.statuses.map(({ state }) => TaskState[state]),
    ['TASK_RUNNING', 'TASK_FINISHED'],
  );
  agent.send({ type: Type.MESSAGE, message: { data: Buffer.from('hi') } });
  await agent.until(() => agent.messages.length === 1);
  t.deepEqual(agent.messages, ['you said hi']);
  agent.send({ type: Type.SHUTDOWN });
  t.deepEqual(await exited, [0, null]);
});
