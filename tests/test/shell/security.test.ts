// Who may do what, and how much of it, with real processes; and where a secret is to be found, and where not.
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { LocalCluster } from '@mesobus/cli/local-cluster';
import { mesos } from '@mesobus/protos';
import { connectOperator, type Operator } from '@mesobus/sdk/operator';
import { type Offer, Scheduler, secretOf, type Task, type TaskStatus } from '@mesobus/sdk/scheduler';
import test, { type ExecutionContext } from 'ava';
import { clusterFor, connectionOf, eventually, Happenings } from './in-cluster.ts';

const any = { type: 'ANY' };
const only = (...values: string[]) => ({ values });

/** Everything that this file needs, and no more. */
const acls = {
  register_agents: [{ principals: only('agent-1'), agents: any }],
  register_frameworks: [{ principals: only('ads'), roles: only('eng/ads') }],
  run_tasks: [{ principals: only('ads'), users: only('web') }],
  use_secrets: [{ principals: only('ads'), secrets: only('db') }],
  update_weights: [{ principals: only('ops'), roles: any }],
  access_sandboxes: [{ principals: only('ops'), users: any }],
};

interface Stage {
  readonly cluster: LocalCluster;
  readonly folder: string;
  operator(principal: string): Promise<Operator>;
  scheduler(principal: string, role: string): ReturnType<typeof schedulerOf>;
  setAcls(json: object): void;
}

const inClear = 'open-sesame-4711';

async function stageFor(t: ExecutionContext, rateLimits?: object): Promise<Stage> {
  const folder = mkdtempSync(path.join(tmpdir(), 'mesobus-security-'));
  chmodSync(folder, 0o755);
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const [aclsFile, limitsFile, secrets] = ['acls.json', 'limits.json', 'secrets'].map((name) =>
    path.join(folder, name),
  );
  const setAcls = (json: object): void => writeFileSync(aclsFile as string, JSON.stringify(json));
  setAcls(acls);
  writeFileSync(limitsFile as string, JSON.stringify(rateLimits ?? {}));
  mkdirSync(secrets as string, { mode: 0o700 });
  writeFileSync(path.join(secrets as string, 'db'), inClear);
  const argsOf = (name: string): string[] => {
    if (name.startsWith('master')) return ['--acls', aclsFile as string, '--rate-limits', limitsFile as string];
    return name.startsWith('agent')
      ? ['--acls', aclsFile as string, '--secrets-dir', secrets as string, '--no-switch-user']
      : [];
  };
  const cluster = await clusterFor(t, { argsOf });
  return {
    cluster,
    folder,
    setAcls,
    async operator(principal) {
      const operator = await connectOperator({ ...connectionOf(cluster), principal });
      t.teardown(() => operator.close());
      return operator;
    },
    scheduler: (principal, role) => schedulerOf(t, cluster, principal, role),
  };
}

/** A framework of user `web` that launches what it is told to. */
function schedulerOf(t: ExecutionContext, cluster: LocalCluster, principal: string, role: string) {
  const statuses = new Happenings<TaskStatus>();
  const offers = new Happenings<Offer>();
  const waiting: Omit<Task, 'resources'>[] = [];
  const scheduler: Scheduler = new Scheduler(
    { ...connectionOf(cluster), principal, framework: { name: principal, roles: [role], user: 'web' } },
    {
      async resourceOffers(list) {
        for (const offer of list) {
          offers.note(offer);
          const tasks = waiting.splice(0).map((task) => ({ resources: { cpus: 0.1, mem: 32 }, ...task }));
          if (tasks.length > 0) await scheduler.launch(offer, tasks, { refuseSeconds: 0.1 });
          else await scheduler.decline(offer, { refuseSeconds: 0.2 });
        }
      },
      statusUpdate: statuses.note,
    },
  );
  t.teardown(() => scheduler.stop());
  const state = (id: string, isIt: (status: TaskStatus) => boolean) =>
    statuses.find((status) => status.taskId === id && isIt(status));
  return { scheduler, offers, state, launch: (task: Omit<Task, 'resources'>) => void waiting.push(task) };
}

/** What it comes to, or why not. */
async function why(asked: Promise<unknown>): Promise<string> {
  try {
    await asked;
    return 'done';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

test.serial('frameworks, tasks, operators and sandboxes are held to the ACLs, also when these change', async (t) => {
  t.timeout(240_000);
  const stage = await stageFor(t);
  const [ops, guest] = await Promise.all(['ops', 'guest'].map(stage.operator));
  if (!ops || !guest) throw new Error('nobody is there');

  t.regex(
    await why(stage.scheduler('ads', 'eng/ops').scheduler.start()),
    /principal 'ads' may not register_frameworks for roles 'eng\/ops': no rule of the ACLs allows it; ask the operator/,
  );
  t.regex(
    await why(stage.scheduler('other', 'eng/ads').scheduler.start()),
    /principal 'other' may not register_frameworks/,
  );

  const ads = stage.scheduler('ads', 'eng/ads');
  await ads.scheduler.start();
  ads.launch({ id: 'as-root', command: { shell: 'exec sleep 600', user: 'root' } });
  const refused = await ads.state('as-root', ({ ended }) => ended);
  t.like(refused, { state: 'TASK_ERROR', reason: 'REASON_TASK_UNAUTHORIZED' });
  t.is(refused.message, "principal 'ads' may not run_tasks for users 'root': no rule of the ACLs allows it");
  ads.launch({ id: 'as-web', command: 'echo it runs; exec sleep 600' });
  await ads.state('as-web', ({ state }) => state === 'TASK_RUNNING');

  const key = { frameworkId: ads.scheduler.frameworkId as string, taskId: 'as-web' };
  const [agent] = await ops.agents();
  t.regex(await why(ops.drainAgent(agent?.id ?? '')), /principal 'ops' may not drain_agents for agents 'agent-1'/);
  t.regex(
    await why(guest.updateWeights([{ role: 'eng', weight: 2 }])),
    /principal 'guest' may not update_weights for roles 'eng'/,
  );
  t.is(await why(ops.updateWeights([{ role: 'eng', weight: 2 }])), 'done');
  t.regex(await why(guest.killTask(key)), /principal 'guest' may not kill_tasks for framework_principals 'ads'/);

  t.regex(await why(guest.files.read(key, 'stdout')), /principal 'guest' may not access_sandboxes for users 'web'/);
  t.is(Buffer.from((await ops.files.read(key, 'stdout')).data).toString(), 'it runs\n');
  t.regex(
    await why(ops.exec(key, { command: ['true'] })),
    /principal 'ops' may not launch_nested_container_sessions_under/,
  );

  stage.setAcls({ ...acls, kill_tasks: [{ principals: only('ops'), framework_principals: only('ads') }] });
  t.is(
    await eventually(
      () => why(ops.killTask(key)),
      (said) => said === 'done',
    ),
    'done',
  );
  await ads.state('as-web', ({ state }) => state === 'TASK_KILLED');
});

/** Of all files below a folder, those that hold a text. */
function filesWith(folder: string, text: string): string[] {
  const all = readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => path.join(folder, name));
  return all.filter((file) => {
    const found = lstatSync(file, { throwIfNoEntry: false }); // a link leads to where the secret is meant to be
    return found?.isFile() && readFileSync(file).includes(text);
  });
}

test.serial('a secret reaches its task as a variable and as a file, and is found nowhere else', async (t) => {
  t.timeout(240_000);
  const stage = await stageFor(t);
  const ads = stage.scheduler('ads', 'eng/ads');
  await ads.scheduler.start();
  const { Type: SourceType } = mesos.v1.Volume.Source;
  const container = {
    type: mesos.v1.ContainerInfo.Type.MESOS,
    volumes: [
      {
        containerPath: 'password',
        mode: mesos.v1.Volume.Mode.RW,
        source: { type: SourceType.SECRET, secret: secretOf({ secret: 'db' }) },
      },
    ],
  };
  const script =
    '[ "$PASSWORD" = "$(cat password)" ] && echo "it has $(printf %s "$PASSWORD" | wc -c) characters"; exec sleep 600';
  ads.launch({ id: 't1', command: script, env: { PASSWORD: { secret: 'db' } }, container });
  await ads.state('t1', ({ state }) => state === 'TASK_RUNNING');
  const ops = await stage.operator('ops');
  const key = { frameworkId: ads.scheduler.frameworkId as string, taskId: 't1' };
  const read = async () => Buffer.from((await ops.files.read(key, 'stdout')).data).toString();
  const expected = `it has ${inClear.length} characters\n`;
  t.is(await eventually(read, (said) => said === expected), expected);
  t.regex(await why(ops.files.read(key, 'password')), /leads out of the sandboxes/);

  ads.launch({ id: 't2', command: 'true', env: { PASSWORD: { secret: 'root-key' } } });
  t.like(await ads.state('t2', ({ ended }) => ended), { state: 'TASK_ERROR', reason: 'REASON_TASK_UNAUTHORIZED' });
  const data = new TextEncoder().encode(inClear);
  const byValue = { type: mesos.v1.Secret.Type.VALUE, value: { data } };
  const variable = { name: 'PASSWORD', type: mesos.v1.Environment.Variable.Type.SECRET, secret: byValue };
  ads.launch({ id: 't3', raw: { command: { value: 'true', environment: { variables: [variable] } } } });
  const inTheLog = await ads.state('t3', ({ ended }) => ended);
  t.is(inTheLog.state, 'TASK_ERROR');
  t.regex(inTheLog.message ?? '', /would stand in the log in clear/);

  const tasks = [];
  for await (const task of ops.tasks()) tasks.push(task);
  const listed = JSON.stringify([tasks, await ops.frameworks()], (_, value) =>
    typeof value === 'bigint' ? String(value) : value,
  );
  t.false(listed.includes(inClear));
  t.true(listed.includes('t1'));
  // What the agent, the masters, their log in JetStream and all of their output have on a disk.
  t.deepEqual(filesWith(stage.cluster.dir, inClear), []);
  t.true(filesWith(stage.cluster.dir, 'PASSWORD').length > 0, 'the name is there');
});

test.serial('a framework that calls too fast is told to wait, and loses no call', async (t) => {
  t.timeout(240_000);
  const stage = await stageFor(t, { limits: [{ principal: 'ads', qps: 5, capacity: 5 }] });
  const ads = stage.scheduler('ads', 'eng/ads');
  await ads.scheduler.start();
  const begin = performance.now();
  // Calls that are sent together are taken together: each waits for the one before.
  for (let calls = 0; calls < 20; calls += 1) {
    await ads.scheduler.suppress();
    await ads.scheduler.revive();
  }
  t.true(performance.now() - begin > 5_000, '40 calls at 5 a second, of which 5 come at once');
  ads.launch({ id: 't1', command: 'true' });
  t.is((await ads.state('t1', ({ ended }) => ended)).state, 'TASK_FINISHED');
});
