import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mesos } from '@mesobus/protos';
import { ConfigError } from '@mesobus/sdk/service';
import test, { type ExecutionContext } from 'ava';
import { findNamespaces } from '../../src/shell/process/namespaces.ts';
import { openSecrets, Secrets } from '../../src/shell/secrets.ts';
import { openWorkDir } from '../../src/shell/work-dir.ts';
import { run } from '../world.ts';
import { Bench, tempWorkDir } from './bench.ts';
import { Cluster } from './cluster.ts';

const { REFERENCE, VALUE } = mesos.v1.Secret.Type;
const { SECRET } = mesos.v1.Environment.Variable.Type;
const { Type: SourceType } = mesos.v1.Volume.Source;
const isRoot = process.getuid?.() === 0;
const namespaces = isRoot ? await findNamespaces(isRoot) : { why: 'not root' };
const named = (name: string, key?: string) => ({ type: REFERENCE, reference: { name, ...(key && { key }) } });

function folders(t: ExecutionContext): { root: string; dir: string; files: string } {
  const root = mkdtempSync(join(tmpdir(), 'mesobus-secrets-'));
  chmodSync(root, 0o755);
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  const [dir, files] = [join(root, 'secrets'), join(root, 'files')];
  mkdirSync(dir, { mode: 0o700 });
  mkdirSync(files, { mode: 0o711 });
  return { root, dir, files };
}

function secretsIn(t: ExecutionContext) {
  const { root, dir, files } = folders(t);
  return { root, dir, files, secrets: new Secrets(dir, files) };
}

test('a secret is the content of the file of its name, or of its key in the folder of its name', (t) => {
  const { dir, secrets } = secretsIn(t);
  writeFileSync(join(dir, 'db'), ' open\nsesame\n');
  mkdirSync(join(dir, 'tls'));
  writeFileSync(join(dir, 'tls', 'key.pem'), 'k');
  t.is(secrets.read(named('db')).toString(), ' open\nsesame\n');
  t.is(secrets.readText(named('tls', 'key.pem')), 'k');
});

const refused: Record<string, [secret: mesos.v1.Secret.$Properties, why: RegExp]> = {
  'that is not there': [named('other'), /there is no secret 'other' on this agent; put a file of that name into/],
  'whose key is not there': [named('tls', 'other'), /there is no secret 'tls' with the key 'other'/],
  'with a key of a file': [named('db', 'key'), /there is no secret 'db' with the key 'key'/],
  'that is a folder': [named('tls'), /secret 'tls' is no file; name one, with its key/],
  'that is a path': [named('../outside'), /'..\/outside' cannot be a secret's name/],
  'that is the folder above': [named('..'), /'..' cannot be a secret's name/],
  'with a key that is a path': [named('tls', '../../outside'), /cannot be a secret's name/],
  'behind a link that leads out': [named('link'), /the file of secret 'link' lies outside of --secrets-dir/],
  'of another kind': [{ type: VALUE, value: { data: new Uint8Array(1) } }, /no reference with a name/],
  'without a name': [{ type: REFERENCE }, /no reference with a name/],
  'that is too large': [named('large'), /secret 'large' has more than 524288 bytes/],
};
for (const [what, [secret, why]] of Object.entries(refused)) {
  test(`a secret ${what} is refused, and it says why`, (t) => {
    const { root, dir, secrets } = secretsIn(t);
    writeFileSync(join(root, 'outside'), 'x');
    writeFileSync(join(dir, 'db'), 'x');
    writeFileSync(join(dir, 'large'), Buffer.alloc(524_289));
    mkdirSync(join(dir, 'tls'));
    symlinkSync('../outside', join(dir, 'link'));
    t.throws(() => secrets.read(secret), { message: why });
  });
}

test('links within the folder are followed, as Kubernetes makes them', (t) => {
  const { dir, secrets } = secretsIn(t);
  mkdirSync(join(dir, '..data'));
  writeFileSync(join(dir, '..data', 'db'), 'x');
  symlinkSync('..data/db', join(dir, 'db'));
  t.is(secrets.readText(named('db')), 'x');
});

test('what is no text cannot be a variable', (t) => {
  const { dir, secrets } = secretsIn(t);
  for (const bytes of [[0xff], [0x61, 0]]) {
    writeFileSync(join(dir, 'db'), Uint8Array.from(bytes));
    t.throws(() => secrets.readText(named('db')), { message: /secret 'db' is no text, which a variable needs/ });
  }
});

test('files of containers are for their user alone, or for whoever sees them in an image; they go with them', (t) => {
  const { dir, files, secrets } = secretsIn(t);
  writeFileSync(join(dir, 'db'), 'x');
  const [first, second] = [1, 2].map(() => secrets.place('c1', named('db'), undefined, false)) as [string, string];
  t.not(first, second);
  t.is(statSync(first).mode & 0o777, 0o400);
  t.is(statSync(join(files, 'c1')).mode & 0o777, 0o700);
  t.is(statSync(secrets.place('c2', named('db'), undefined, true)).mode & 0o777, 0o444);
  secrets.place('c3', named('db'), undefined, false);
  if (process.getuid?.() === 0) {
    const path = secrets.place('c4', named('db'), { uid: 1, gid: 1, groups: [] }, false);
    const [file, folder] = [statSync(path), statSync(join(files, 'c4'))];
    t.deepEqual([file.uid, file.mode & 0o777, folder.uid, folder.mode & 0o777], [1, 0o400, 0, 0o711]);
  }
  secrets.remove('c1');
  secrets.sweep(new Set(['c2']));
  t.deepEqual(readdirSync(files), ['c2']);
});

test('the folder of the secrets must be there; what others may see of it is said', (t) => {
  const { root, dir, files } = folders(t);
  const warned: string[] = [];
  const log = { warn: (_: object, message: string) => void warned.push(message) };
  const rest = { workDir: openWorkDir(join(root, 'work')), switchUser: true, log };
  const missing = { secretsDir: join(root, 'none'), secretFilesDir: files };
  const error = t.throws(() => openSecrets(missing, rest), { instanceOf: ConfigError });
  t.regex(error?.message ?? '', /^--secrets-dir: .*none.*name a folder that the agent may read/);
  t.is(openSecrets({ secretsDir: undefined, secretFilesDir: undefined }, rest), undefined);
  const opened = openSecrets({ secretsDir: dir, secretFilesDir: undefined }, rest);
  t.truthy(opened);
  opened?.close();
  t.deepEqual(warned, []);
  chmodSync(dir, 0o755);
  openSecrets({ secretsDir: dir, secretFilesDir: undefined }, { ...rest, switchUser: false })?.close();
  t.regex(warned.join(), /Every user of the machine may look into --secrets-dir.*as the user of the agent/);
});

test('a folder for files that somebody else has made is not used', (t) => {
  const { root, dir, files } = folders(t);
  const rest = { workDir: openWorkDir(join(root, 'work')), switchUser: true, log: { warn: () => {} } };
  openSecrets({ secretsDir: dir, secretFilesDir: files }, rest);
  const [own = ''] = readdirSync(files);
  chmodSync(join(files, own), 0o777);
  const error = t.throws(() => openSecrets({ secretsDir: dir, secretFilesDir: files }, rest), {
    instanceOf: ConfigError,
  });
  t.regex(error?.message ?? '', /is there, and is not a folder of the agent's own; remove it/);
});

// ---- with an agent and real tasks

const variable = (name: string) => ({
  environment: { variables: [{ name: 'DB', type: SECRET, secret: named(name) }] },
});
const volume = (name: string) => ({
  type: mesos.v1.ContainerInfo.Type.MESOS,
  volumes: [
    { mode: mesos.v1.Volume.Mode.RW, containerPath: 'db', source: { type: SourceType.SECRET, secret: named(name) } },
  ],
});

test('a task has a secret as a variable and as a file while it runs, and nothing of it stays', async (t) => {
  const { dir, files } = folders(t);
  writeFileSync(join(dir, 'db'), 'open sesame');
  const bench = new Bench(t);
  bench.secrets = new Secrets(dir, files);
  await bench.start();
  const value = '[ "$DB" = "$(cat db)" ] && [ "$(stat -L -c %a db)" = 400 ] && exec sleep 600';
  await bench.leader.command((number) =>
    run(number, 't1', { task: { command: { value, ...variable('db') }, container: volume('db') } }),
  );
  await bench.leader.update('t1', 'TASK_RUNNING');
  const [containerId = ''] = readdirSync(files);
  t.is(readFileSync(join(files, containerId, '0'), 'utf8'), 'open sesame');
  await bench.stop();
  await bench.start();
  t.true(existsSync(join(files, containerId)), 'a restart of the agent leaves it');
  await bench.leader.command((number) => ({ number, killTask: { task: { frameworkId: 'F', taskId: 't1' } } }));
  await bench.leader.update('t1', 'TASK_KILLED');
  t.deepEqual(readdirSync(files), []);
});

for (const [what, more] of Object.entries({
  'a variable': { command: { value: 'true', ...variable('none') } },
  'a volume': { command: { value: 'true' }, container: volume('none') },
})) {
  test(`a task with ${what} of a secret that is not there fails, and says so`, async (t) => {
    const { dir, files } = folders(t);
    const bench = new Bench(t);
    bench.secrets = new Secrets(dir, files);
    await bench.start();
    await bench.leader.command((number) => run(number, 't1', { task: more }));
    const { status } = await bench.leader.update('t1', 'TASK_FAILED');
    t.is(status?.reason, mesos.v1.TaskStatus.Reason.REASON_CONTAINER_LAUNCH_FAILED);
    t.regex(status?.message ?? '', /there is no secret 'none' on this agent/);
    t.deepEqual(readdirSync(files), []);
  });
}

test('a task with a secret fails on an agent that knows none', async (t) => {
  const bench = new Bench(t);
  await bench.start();
  await bench.leader.command((number) =>
    run(number, 't1', { task: { command: { value: 'true', ...variable('db') } } }),
  );
  const { status } = await bench.leader.update('t1', 'TASK_FAILED');
  t.regex(status?.message ?? '', /this agent knows no secrets; start it with --secrets-dir/);
});

const testOfUsers = 'why' in namespaces ? test.skip : test;
const skipped = 'why' in namespaces ? ` (skipped: ${namespaces.why})` : '';

testOfUsers(`in namespaces a file is mounted anywhere, and is of the user of its task alone${skipped}`, async (t) => {
  const { root, dir, files } = folders(t);
  writeFileSync(join(dir, 'db'), 'open sesame');
  const target = join(root, 'target');
  writeFileSync(target, '');
  const options = ['--secrets-dir', dir, '--secret-files-dir', files];
  const cluster = await Cluster.start(t);
  cluster.agent(tempWorkDir(t), 'cpus:1;mem:64', '--isolation', 'namespaces', ...options);
  await cluster.registrations(1);
  const source = { type: SourceType.SECRET, secret: named('db') };
  const volumes = ['db', target].map((containerPath) => ({ containerPath, mode: mesos.v1.Volume.Mode.RO, source }));
  const value = `[ "$(id -un)" = nobody ] && for file in db ${target}; do
    [ "$(cat $file)" = 'open sesame' ] && [ "$(stat -c %U:%a $file)" = nobody:400 ] || exit 1; done`;
  const container = { type: mesos.v1.ContainerInfo.Type.MESOS, volumes };
  const task = { command: { value, user: 'nobody' }, container };
  await cluster.leader.command((number) => run(number, 't1', { task }));
  const { status } = await cluster.leader.end('t1');
  t.is(status?.state, mesos.v1.TaskState.TASK_FINISHED, status?.message);
  t.is(readFileSync(target, 'utf8'), '');
});
