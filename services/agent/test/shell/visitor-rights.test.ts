import { randomUUID } from 'node:crypto';
import { readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import type { mesobus } from '@mesobus/protos';
import { type Acls, parseAcls } from '@mesobus/sdk/authorization';
import { RefusedError } from '@mesobus/sdk/errors';
import test, { type ExecutionContext } from 'ava';
import { kill, run } from '../world.ts';
import { Bench, untilIn } from './bench.ts';

const actions = {
  files: 'access_sandboxes',
  exec: 'launch_nested_container_sessions_under_parent_with_user',
  output: 'attach_containers_output',
  usage: 'view_containers',
} as const;

/** Principal `web` may do all this with containers of user `web`. */
function acls(...names: (keyof typeof actions)[]): Acls {
  const rule = { principals: { values: ['web'] }, users: { values: ['web'] } };
  const all = { principals: { values: ['ops'] }, users: { type: 'ANY' } };
  const parsed = parseAcls(JSON.stringify(Object.fromEntries(names.map((name) => [actions[name], [rule, all]]))));
  if (!parsed.ok) throw new Error(parsed.problems.join());
  return parsed.acls;
}

/** An agent with a task of user `web` and one of user `db`, which only their names tell apart. */
async function withTasks(t: ExecutionContext, allowed: Acls | undefined): Promise<Bench> {
  const bench = new Bench(t);
  bench.switchUser = false;
  bench.acls = allowed;
  await bench.start();
  for (const user of ['web', 'db']) {
    const command = { value: `echo of ${user}; exec sleep 600`, user };
    await bench.leader.command((number) => run(number, user, { task: { command } }));
    await bench.leader.update(user, 'TASK_RUNNING');
  }
  return bench;
}

const keyOf = (taskId: string) => ({ frameworkId: 'F', taskId });

class Visitor {
  readonly #bench: Bench;
  readonly #principal: string;

  constructor(bench: Bench, principal: string) {
    this.#bench = bench;
    this.#principal = principal;
  }

  read(path: string, taskId?: string): Promise<string> {
    return this.#file({ path, read: {}, ...(taskId && { task: keyOf(taskId) }) }, ({ data }) =>
      Buffer.from(data?.data ?? []).toString(),
    );
  }

  list(path: string, taskId?: string): Promise<string> {
    const request = { path, list: {}, ...(taskId && { task: keyOf(taskId) }) };
    return this.#file(request, ({ list }) => list?.entries.map(({ name }) => name).join(' ') ?? '');
  }

  #file(request: mesobus.v1.FileRequest.$Properties, say: (reply: mesobus.v1.FileReply) => string): Promise<string> {
    const { operator, subjects } = this.#bench;
    const channel = subjects.agentFiles('a').of(this.#principal);
    return said(async () => say((await operator.request(channel, request, { timeoutMs: 20_000 })).message));
  }

  exec(taskId: string): Promise<string> {
    const start = { task: keyOf(taskId), argv: ['true'], environment: {} };
    return this.#session('agentExec', { start });
  }

  attach(taskId: string): Promise<string> {
    return this.#session('agentAttach', { attach: { task: keyOf(taskId) } });
  }

  #session(kind: 'agentExec' | 'agentAttach', request: mesobus.v1.SessionRequest.$Properties): Promise<string> {
    const { operator, subjects } = this.#bench;
    const channel = subjects[kind]('a').of(this.#principal);
    const message = { sessionId: randomUUID(), ...request };
    return said(async () => {
      await operator.request(channel, message, { timeoutMs: 20_000 });
      await operator.request(channel, { sessionId: message.sessionId, close: {} }, { timeoutMs: 20_000 });
      return 'done';
    });
  }

  async usage(): Promise<string> {
    const { operator, subjects } = this.#bench;
    const { message } = await operator.request(subjects.agentUsage('a').of(this.#principal), {}, { timeoutMs: 20_000 });
    return message.containers.flatMap(({ taskIds }) => taskIds).join(' ');
  }
}

/** What it gives, or the code of the refusal. */
async function said(ask: () => Promise<string>): Promise<string> {
  try {
    return await ask();
  } catch (error) {
    return error instanceof RefusedError ? error.code : String(error);
  }
}

const no = 'not_authorized';

test('without ACLs everybody looks into everything', async (t) => {
  const bench = await withTasks(t, undefined);
  const visitor = new Visitor(bench, 'somebody');
  t.is(await visitor.read('stdout', 'db'), 'of db\n');
  t.is(await visitor.exec('db'), 'done');
  t.is(await visitor.attach('db'), 'done');
  t.is(await visitor.usage(), 'web db');
});

test('a sandbox is for those who may access what its user has, by name or by path', async (t) => {
  const bench = await withTasks(t, acls('files'));
  const [web, somebody, ops] = ['web', 'somebody', 'ops'].map((name) => new Visitor(bench, name)) as [
    Visitor,
    Visitor,
    Visitor,
  ];
  t.is(await web.read('stdout', 'web'), 'of web\n');
  t.is(await web.read(join(bench.sandbox('web'), 'stdout')), 'of web\n');
  t.is(await web.read('stdout', 'db'), no);
  t.is(await web.read(join(bench.sandbox('db'), 'stdout')), no);
  t.is(await web.list('', 'db'), no);
  t.is(
    await web.read(
      join(
        bench.sandbox('web'),
        '..',
        '..',
        'db',
        readdirSync(join(bench.workDir.sandboxes, 'F', 'db'))[0] ?? '',
        'stdout',
      ),
    ),
    no,
  );
  t.is(await web.list('F'), no, 'what is above containers is for those who may access all');
  t.is(await ops.list('F'), 'db web');
  t.is(await ops.read('stdout', 'db'), 'of db\n');
  t.is(await somebody.read('stdout', 'web'), no);
  t.is(await somebody.read('none', 'web'), no, 'not even whether a file is there');
  t.is(await web.exec('web'), no, 'what no rule speaks of is denied');
});

test('a link does not lead to what another user has', async (t) => {
  const bench = await withTasks(t, acls('files'));
  writeFileSync(join(bench.sandbox('db'), 'key'), 'k');
  symlinkSync(join(bench.sandbox('db'), 'key'), join(bench.sandbox('web'), 'link'));
  t.is(await new Visitor(bench, 'web').read('link', 'web'), no);
  t.is(await new Visitor(bench, 'ops').read('link', 'web'), 'k');
});

test('the sandbox of a task that is forgotten is for those who may access what the owner of its folder has', async (t) => {
  const own = { principals: { values: ['own'] }, users: { values: [userInfo().username] } };
  const named = { principals: { values: ['web'] }, users: { values: ['web'] } };
  const parsed = parseAcls(JSON.stringify({ access_sandboxes: [own, named] }));
  const bench = await withTasks(t, parsed.ok ? parsed.acls : undefined);
  bench.leader.acknowledges = false;
  await bench.leader.command((number) => kill(number, 'web'));
  await bench.leader.update('web', 'TASK_KILLED');
  t.is(await new Visitor(bench, 'web').read('stdout', 'web'), 'of web\n');
  t.is(await new Visitor(bench, 'own').read('stdout', 'web'), no);
  bench.leader.acknowledgeAll();
  await untilIn(bench.workDir.containers, () => readdirSync(bench.workDir.containers).length === 1);
  t.is(await new Visitor(bench, 'own').read('stdout', 'web'), 'of web\n');
  t.is(await new Visitor(bench, 'web').read('stdout', 'web'), no);
});

test('a command in a container is for those who may start one beside those of its user', async (t) => {
  const bench = await withTasks(t, acls('exec'));
  const [web, somebody] = ['web', 'somebody'].map((name) => new Visitor(bench, name)) as [Visitor, Visitor];
  t.is(await web.exec('web'), 'done');
  t.is(await web.exec('db'), no);
  t.is(await somebody.exec('web'), no);
  t.is(await web.attach('web'), no);
});

test('a session ends when what it is for is not allowed any more', async (t) => {
  const bench = await withTasks(t, acls('exec'));
  const channel = bench.subjects.agentExec('a').of('web');
  const ask = (request: mesobus.v1.SessionRequest.$Properties) =>
    said(async () => {
      await bench.operator.request(channel, { sessionId: 's', ...request }, { timeoutMs: 20_000 });
      return 'done';
    });
  t.is(await ask({ start: { task: keyOf('web'), argv: ['sleep', '600'], environment: {} } }), 'done');
  t.is(await ask({ keep: {} }), 'done');
  bench.acls = acls('files');
  t.is(await ask({ keep: {} }), no);
  bench.acls = acls('exec');
  t.is(await ask({ keep: {} }), 'session_unknown');
});

test('what a task writes is for those who may attach to those of its user', async (t) => {
  const bench = await withTasks(t, acls('output'));
  const [web, somebody] = ['web', 'somebody'].map((name) => new Visitor(bench, name)) as [Visitor, Visitor];
  t.is(await web.attach('web'), 'done');
  t.is(await web.attach('db'), no);
  t.is(await somebody.attach('web'), no);
});

test('what containers use is shown of those that one may view', async (t) => {
  const bench = await withTasks(t, acls('usage'));
  t.is(await new Visitor(bench, 'web').usage(), 'web');
  t.is(await new Visitor(bench, 'ops').usage(), 'web db');
  t.is(await new Visitor(bench, 'somebody').usage(), '');
});
