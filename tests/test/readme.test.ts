import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';

const root = path.resolve(import.meta.dirname, '../..');

test('the scheduler in the README launches its three tasks', async (t) => {
  const [, example] = /```ts\n([\s\S]*?)```/.exec(readFileSync(path.join(root, 'README.md'), 'utf8')) ?? [];
  const inMemory = example?.replace('new Scheduler({ ', "new Scheduler({ bus: network.connect('ten-lines'), ");
  t.not(inMemory, example);
  // Beside the fake leader of the SDK's own tests, so that its imports resolve.
  const folder = mkdtempSync(path.join(root, 'sdk', 'test', 'scheduler', '.readme-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'example.ts');
  // The example runs until it is stopped; here it is when the last of its tasks has ended.
  const preamble = `import { createMemoryNetwork } from '@mesobus/sdk/bus';
import { FakeLeader, offers, update } from '../fake-leader.ts';
const network = createMemoryNetwork();
const leader = new FakeLeader(network);
leader.answer = ({ call }) => {
  if (!call?.accept) return {};
  const id = 4 - (launched += 1);
  leader.send(update(\`task-\${id}\`, 'TASK_FINISHED', launched));
  if (id > 1) leader.send(offers(\`o\${id}\`));
  else setImmediate(() => void scheduler.stop());
  return {};
};
let launched = 0;
setImmediate(function offer() {
  if (leader.generation === 0) setImmediate(offer);
  else leader.send(offers('o4'));
});
`;
  writeFileSync(file, `${preamble}${inMemory}leader.stop();\n`);
  const { stdout } = await promisify(execFile)(process.execPath, ['-C', 'mesobus-source', file], { timeout: 20_000 });
  t.is(stdout, 'task-3 TASK_FINISHED\ntask-2 TASK_FINISHED\ntask-1 TASK_FINISHED\n');
});
