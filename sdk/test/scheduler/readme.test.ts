import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';

const sdk = path.resolve(import.meta.dirname, '../..');

test('the example of the README runs a task', async (t) => {
  const [, example] = /```ts\n([\s\S]*?)```/.exec(readFileSync(path.join(sdk, 'README.md'), 'utf8')) ?? [];
  t.truthy(example);
  // Inside the package, so that its imports resolve; the cluster it finds is a fake one on a bus in memory.
  const folder = mkdtempSync(path.join(sdk, 'test', 'scheduler', '.readme-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'example.ts');
  const preamble = `import { createMemoryNetwork } from '@mesobus/sdk/bus';
import { FakeLeader, offers, update } from '../fake-leader.ts';
const network = createMemoryNetwork();
const leader = new FakeLeader(network);
leader.answer = ({ call }) => {
  if (call?.accept) leader.send(update('one', 'TASK_FINISHED', 1));
  return {};
};
setImmediate(function offer() {
  if (leader.generation === 0) setImmediate(offer);
  else leader.send(offers('o1'));
});
`;
  const inMemory = (example as string).replace('new Scheduler({ ', "new Scheduler({ bus: network.connect('once'), ");
  t.not(inMemory, example);
  writeFileSync(file, `${preamble}${inMemory}leader.stop();\n`);
  const { stdout } = await promisify(execFile)(process.execPath, ['-C', 'mesobus-source', file]);
  t.is(stdout, 'TASK_FINISHED\n');
});
