// npm run test:matrix: the tests against a real nats-server, with each version that this machine has: the one that npm
// installed, the one that MESOBUS_NATS_SERVER names, and those on the PATH. On one that is too old for replicas, what
// needs them asserts that they are refused. Exits with 1 if any failed.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  firstNatsServerWith,
  installedNatsServers,
  isOlder,
  type NatsServerBinary,
  resolveNatsServer,
} from '@mesobus/sdk/service';

/** One of each version, the usual one first. */
async function findServers(): Promise<NatsServerBinary[]> {
  const found = [await resolveNatsServer(''), await resolveNatsServer()];
  for await (const server of installedNatsServers()) found.push(server);
  return found.filter(({ version }, at) => found.findIndex((other) => other.version === version) === at);
}

/** Every suite, although an earlier one failed. */
async function passes({ path }: NatsServerBinary): Promise<boolean> {
  const args = ['run', 'test:shell', '--concurrency=1', '--log-order=grouped', '--continue'];
  const env = { ...process.env, MESOBUS_NATS_SERVER: path };
  const [code] = await once(spawn('turbo', args, { env, stdio: 'inherit' }), 'exit');
  return code === 0;
}

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const servers = await findServers();
const results: string[] = [];
for (const server of servers) {
  const name = `nats-server ${server.version} (${server.source})`;
  say(`== ${name}: ${server.path}`);
  const passed = await passes(server);
  if (!passed) process.exitCode = 1;
  results.push(`${name}: ${passed ? 'passed' : 'failed'}${server.clusterable ? '' : ', replicas refused'}`);
}
for (const line of results) say(line);
if (!servers.some(({ version }) => isOlder(version, firstNatsServerWith.soundReplicas))) {
  const todo = 'name one with MESOBUS_NATS_SERVER';
  say(`nothing was run on a nats-server older than ${firstNatsServerWith.soundReplicas}: none was found; ${todo}`);
}
