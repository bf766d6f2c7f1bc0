import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import test from 'ava';
import { runProgram } from '../src/program.ts';

interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function run(...args: string[]): Promise<Said> {
  const [out, err] = [new PassThrough(), new PassThrough()];
  const said = Promise.all([text(out), text(err)]);
  const code = await runProgram(args, { out, err });
  out.end();
  err.end();
  const [outText, errText] = await said;
  return { code, out: outText, err: errText };
}

const refused: readonly (readonly [string[], RegExp])[] = [
  [['frobnicate'], /unknown command 'frobnicate'/],
  [['ps', '--frobnicate'], /unknown option '--frobnicate'/],
  [['ps', 'extra'], /too many arguments/],
  [['run'], /missing required argument 'command'/],
  [['run', '--cpus', 'many', '--', 'true'], /'many' is invalid\. It must be a number that is not negative/],
  [['run', '--count', '0', '--', 'true'], /whole number from 1 to 100000/],
  [['run', '--env', 'novalue', '--', 'true'], /NAME=value/],
  [['run', '--timeout', '5', '--', 'true'], /duration, for example 30s/],
  [['up', '--agents', '-1'], /whole number from 0 to 1000/],
  [['up', '--resources', 'cpus'], /'cpus'/],
  [['up', '--attributes', 'rack'], /'rack' .*name:value/],
  [['up', '--log-level', 'loud'], /Allowed choices are trace, debug/],
  [['up', '--cluster', 'a.b'], /letters, digits/],
  [['ps', '--cluster', 'a.b'], /letters, digits/],
  [['backup', 'file', '--cluster', ''], /letters, digits/],
  [['explain'], /missing required argument 'framework'/],
  [['whatif'], /Name what to suppose: a --weight, --quota, --limit or --agents/],
  [['whatif', '--quota', 'ads=1'], /role, a resource and an amount or none, for example 'ads\.cpus=100'/],
  [['whatif', '--limit', 'ads.cpus=-1'], /number that is not negative/],
  [['whatif', '--agents', '50'], /for example \+50 or -agent-3/],
  [['whatif', '--agents', '+1=cpus'], /'cpus'/],
  [['whatif', '--agents', '+1000000'], /up to 100000/],
  [['weights', 'ads'], /role with a weight above 0/],
  [['weights', 'ads=0'], /role with a weight above 0/],
  [['kill'], /missing required argument 'task'/],
  [['pause'], /missing required argument 'task'/],
  [['exec', 'task'], /missing required argument 'command'/],
  [['exec', 'task', '--'], /missing required argument 'command'|there is none/],
  [['exec', '-e', 'A', 'task', 'ls'], /NAME=value/],
  [['top', '--interval', 'often'], /duration, for example 30s/],
  [['quota', 'set', 'ads'], /Name a --guarantee, a --limit or both/],
  [['quota', 'set', 'ads', '--limit', 'cpus'], /resource with an amount, for example 'cpus=4'/],
  [['quota', 'set', 'ads', '--guarantee', 'cpus=-1'], /number that is not negative/],
  [['quota', 'remove'], /missing required argument 'role'/],
  [['maintenance', 'schedule', 'a1'], /Name machines together with --start or --cancel/],
  [['maintenance', 'schedule', '--cancel'], /Name machines together with --start or --cancel/],
  [['maintenance', 'schedule', 'a1', '--start', 'soon'], /time, for example 2030/],
  [['maintenance', 'schedule', 'a1', '--start', '5'], /time, for example 2030/],
  [['maintenance', 'schedule', 'a1', '--start', 'now', '--cancel'], /'--cancel' cannot be used with option '--start/],
  [['maintenance', 'start'], /missing required argument 'machine'/],
  [['reserve', 'a1', 'cpus:2'], /required option '--role <role>' not specified/],
  [['reserve', 'a1', 'cpus', '--role', 'ads'], /'cpus'/],
  [['reserve', 'a1', 'cpus(ads):1', '--role', 'ads'], /write amounts alone, such as 'cpus:2;mem:512', and --role/],
  [['volume', 'create', 'a1', 'v', '--role', 'ads'], /required option '--size <mb>' not specified/],
  [['volume', 'grow', 'a1', 'v', 'much', '--role', 'ads'], /number that is not negative/],
  [['agent', 'gone'], /missing required argument 'agent'/],
  [['agent', 'drain', 'a1', '--grace', 'long'], /duration, for example 30s/],
];
for (const [args, message] of refused) {
  test(`'mesobus ${args.join(' ')}' is refused with a reason and exit code 2`, async (t) => {
    const { code, err } = await run(...args);
    t.is(code, 2);
    t.regex(err, message);
  });
}

test('without a command the commands are listed and the exit code is 2', async (t) => {
  const { code, err } = await run();
  t.is(code, 2);
  for (const name of [
    'up',
    'down',
    'run',
    'ps',
    'agents',
    'frameworks',
    'offers',
    'roles',
    'explain',
    'whatif',
    'weights',
    'teardown',
    'kill',
    'pause',
    'resume',
    'exec',
    'attach',
    'top',
    'agent',
    'quota',
    'maintenance',
    'reserve',
    'unreserve',
    'volume',
    'logs',
    'files',
    'version',
  ]) {
    t.regex(err, new RegExp(`^ {2}${name}\\b`, 'm'));
  }
});

test('--help goes to standard output and is no failure', async (t) => {
  const { code, out, err } = await run('run', '--help');
  t.is(code, 0);
  t.regex(out, /Usage: mesobus run/);
  t.is(err, '');
});

test('the version is known for people and for machines', async (t) => {
  t.regex((await run('version')).out, /^mesobus \d+\.\d+\.\d+ \(node v\d+/);
  t.deepEqual(Object.keys(JSON.parse((await run('version', '--json')).out)), ['version', 'node']);
});

test('a NATS that cannot be reached is named, with what to do, and the exit code is 1', async (t) => {
  const { code, err } = await run('ps', '--nats', 'nats://127.0.0.1:1');
  t.is(code, 1);
  t.regex(err, /nats:\/\/127\.0\.0\.1:1.*correct the address/);
});

test.serial('a cluster that no cluster can be called is refused before anything is asked', async (t) => {
  process.env['MESOBUS_CLUSTER'] = 'a.b';
  t.teardown(() => {
    delete process.env['MESOBUS_CLUSTER'];
  });
  const { code, err } = await run('ps', '--nats', 'nats://127.0.0.1:1');
  t.is(code, 1);
  t.is(err, "mesobus: Cannot use the cluster 'a.b' from the environment: expected up to 64 letters, digits, - and _\n");
});

for (const flags of [[], ['--detach']]) {
  test(`'up ${flags.join(' ')}' into what is no folder says so and starts nothing`, async (t) => {
    const { code, err } = await run('up', '--dir', '/dev/null', ...flags);
    t.is(code, 1);
    t.regex(err, /Cannot keep a cluster in '\/dev\/null': EEXIST.*; choose a folder/);
  });
}

test('a context file that is not there is named', async (t) => {
  const { code, err } = await run('ps', '--context', '/nowhere/context.json');
  t.is(code, 1);
  t.regex(err, /Cannot use the context '\/nowhere\/context\.json'/);
});
