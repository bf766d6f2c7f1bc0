import { Burst, startsOf } from './burst.ts';
import { Stack, type World } from './stack.ts';

const agents = 3;
const tasks = 60;
/** So many are running when the kills come. */
const killAt = 10;

interface Examination {
  readonly leader?: { readonly masterId: string };
  readonly streams: readonly { readonly stream: string; readonly leader: string }[];
  readonly findings: readonly unknown[];
}

/** Everything three times: up, a burst that is hurt, crashes, down. */
export async function replicated(world: World, wrong: string[]): Promise<object> {
  const { say, secondsSince } = world;
  await using stack = new Stack(world, { file: 'compose.yaml', project: 'three' });
  await stack.compose('--profile', '*', 'config', '--quiet');
  say('making the images');
  await stack.compose('build', 'nats-1', 'agent');

  say('up');
  const upAt = performance.now();
  await stack.compose('up', '-d', '--wait', '--scale', `agent=${agents}`);
  const upSeconds = secondsSince(upAt);
  wrong.push(...(await stack.unhealthy()));

  say('hello, as processes of the agents');
  await stack.compose('run', '--rm', '-T', 'hello', '--tasks', '4');

  say('an agent with control groups and namespaces');
  await stack.compose('--profile', 'isolated', 'up', '-d', '--wait', 'agent-isolated');
  wrong.push(...(await stack.unhealthy()));

  await stack.compose('--profile', 'isolated', 'rm', '--stop', '--force', 'agent-isolated');

  const burst = await hurtBurst(stack, world, wrong);
  const crashes = await crash(stack, world, wrong);

  const lasting = new Burst(stack, 3, 1000);
  await lasting.running(3);
  say('down, while tasks are running');
  const downAt = performance.now();
  await stack.compose('--profile', '*', 'down', '--volumes');
  const downSeconds = secondsSince(downAt);
  await lasting.ended;
  wrong.push(...(await stack.leftOver()));
  return { upSeconds, ...burst, ...crashes, downSeconds };
}

/** As somebody would with `docker kill`, which Docker takes for a wish: it starts none of them again by itself. */
async function hurtBurst(stack: Stack, { say, secondsSince }: World, wrong: string[]): Promise<object> {
  const { leader, streams } = await stack.ask<Examination>('doctor');
  const master = await stack.masterOf(leader?.masterId ?? '');
  const nats = streams.find(({ stream }) => stream.endsWith('-log'))?.leader || 'nats-1';
  const agent = await stack.containerOf('agent');
  const ids = [await stack.containerOf(master), await stack.containerOf(nats), agent];
  const beganAt = performance.now();
  const burst = new Burst(stack, tasks, 6);
  const frameworkId = await burst.frameworkId;
  await burst.running(killAt);
  const runningAtKill = burst.count('TASK_RUNNING') - burst.count('TASK_FINISHED');
  say(`docker kill ${master}, ${nats} and an agent, of ${tasks} tasks ${runningAtKill} are running`);
  if (runningAtKill <= 0) wrong.push('the burst was over before anything was killed');
  await Promise.all(ids.map((id) => stack.kill(id)));
  await stack.dockerd.docker.getContainer(agent).start(); // the two others stay away
  const { exitCode, lines } = await burst.ended;
  if (exitCode !== 0) wrong.push(`hello failed: ${lines.slice(-3).join(' | ')}`);
  const starts = startsOf(stack.agentsDir, frameworkId);
  const lost = tasks - starts.size;
  const doubled = [...starts.values()].filter((count) => count > 1).length;
  if (lost > 0) wrong.push(`${lost} tasks have never run`);
  if (doubled > 0) wrong.push(`${doubled} tasks have run more than once`);
  const burstSeconds = secondsSince(beganAt);
  say('up again');
  await stack.compose('up', '-d', '--wait', '--scale', `agent=${agents}`);
  wrong.push(...(await stack.unhealthy()));
  return { killed: [master, nats, 'agent'], runningAtKill, tasks, lost, doubled, burstSeconds };
}

/** What Docker sees as a crash it starts again by itself. */
async function crash(stack: Stack, { say, secondsSince }: World, wrong: string[]): Promise<object> {
  const { leader } = await stack.ask<Examination>('doctor');
  const names = [await stack.masterOf(leader?.masterId ?? ''), 'nats-1', 'registry-1', 'allocator-1', 'agent'];
  say(`crashing ${names.join(', ')}`);
  const ids = await Promise.all(names.map((name) => stack.containerOf(name)));
  const crashedAt = performance.now();
  for (const id of ids) await stack.crash(id);
  for (const id of ids) await stack.healthyAgain(id);
  const backSeconds = secondsSince(crashedAt);
  await stack.compose('run', '--rm', '-T', 'hello', '--tasks', '4');
  const { findings } = await stack.ask<Examination>('doctor');
  if (findings.length > 0) wrong.push(`the doctor finds ${JSON.stringify(findings)}`);
  return { crashed: names, backSeconds };
}
