import { spawn } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { startServer } from './support.ts';

const folder = fileURLToPath(new URL('../..', import.meta.url));

test('the example of the README runs as it stands', async (t) => {
  const server = await startServer(t);
  const example = /```ts\n(.*?)```/s.exec(await readFile(`${folder}/README.md`, 'utf8'))?.[1] ?? '';
  const file = `${folder}/test/shell/.readme-example-${process.pid}.ts`;
  t.teardown(() => rm(file, { force: true }));
  await writeFile(file, example);
  const env = { ...process.env, NATS_URL: server.url };
  const child = spawn(process.execPath, ['-C', 'mesobus-source', file], { env, stdio: ['ignore', 'ignore', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (data) => {
    errors += String(data);
  });
  const code = await new Promise((resolve) => child.once('exit', resolve));
  t.is(code, 0, errors);
});
