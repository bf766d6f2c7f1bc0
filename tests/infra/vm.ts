// npm run test:vm: what is said of plain machines in docs/operations/vm.md, in four of Debian with systemd, in namespaces
// of this one: installed twice, upgraded one by one while a task runs, taken back, removed. Prints one JSON object.
// Where that cannot be it says why. Exits with 1 if anything is not as it should be.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { bringDebian, whatIsMissing } from './debian.ts';
import { leftOn } from './left-on.ts';
import { Rack, unifiedGroups } from './rack.ts';

const exec = promisify(execFile);
const repository = join(import.meta.dirname, '../..');
const cache = join(repository, 'node_modules/.cache/mesobus-debian');
const vm = join(repository, 'infra/vm');
const servers = ['server-1', 'server-2', 'server-3'];
const agent = 'agent-1';
const machines = [...servers, agent];
const [before, after] = ['1.0.0', '1.0.1'];
const taskTimeoutMs = 60_000;

const beganAt = performance.now();
const seconds = (): number => Math.round((performance.now() - beganAt) / 100) / 10;
const say = (line: string): void => void process.stderr.write(`${seconds().toFixed(1).padStart(6)} s  vm: ${line}\n`);

/** What every part of the test uses. */
interface Stage {
  readonly rack: Rack;
  readonly work: string;
  readonly inventory: string;
  readonly config: string;
  readonly packages: Readonly<Record<string, string>>;
}

/** @throws {Error} what it says, if `true` is not what came of it */
function must(what: string, holds: boolean, found: unknown = ''): void {
  if (!holds) throw new Error(`${what}: ${typeof found === 'string' ? found : JSON.stringify(found)}`);
  say(what);
}

async function makePackage(version: string, out: string): Promise<string> {
  const args = ['-C', 'mesobus-source', join(repository, 'infra/package/main.ts'), '--version', version, '--out', out];
  await exec(process.execPath, args, { cwd: repository });
  return join(out, `mesobus-${version}-linux-${process.arch}.tar.gz`);
}

/** The example of the guide, with one agent, and what it says to make. */
async function prepare(work: string, newest: string): Promise<{ inventory: string; config: string }> {
  const [inventory, keys, config] = [join(work, 'inventory'), join(work, 'keys'), join(work, 'config')];
  const lines = readFileSync(join(vm, 'example/inventory'), 'utf8').split('\n');
  writeFileSync(inventory, lines.filter((line) => !line.startsWith('agent-2')).join('\n'));
  cpSync(join(vm, 'example/config'), config, { recursive: true });
  await exec('tar', ['-xzf', newest, '-C', work, '--strip-components=1', '--exclude=*/vm']);
  const env = { ...process.env, PATH: `${join(work, 'bin')}:${process.env['PATH']}` };
  await exec('sh', [join(vm, 'credentials.sh'), inventory, keys, config], { env });
  await exec(join(work, 'bin/mesobus'), ['auth', 'add', 'operator', 'tester', '--dir', keys]);
  const creds = join(config, servers[0] as string, 'creds');
  cpSync(join(keys, 'creds/operator-tester.creds'), join(creds, 'operator.creds'));
  return { inventory, config };
}

/** @returns what it says */
async function rollOut({ rack, inventory }: Stage, ...args: readonly string[]): Promise<string> {
  const env = { ...process.env, MESOBUS_SSH: rack.ssh };
  const child = spawn('sh', [join(vm, 'rollout.sh'), '--inventory', inventory, ...args], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const lines: string[] = [];
  const read = async (stream: NodeJS.ReadableStream): Promise<void> => {
    for await (const line of createInterface({ input: stream })) {
      lines.push(line);
      say(`  ${line}`);
    }
  };
  const ended = new Promise<number | null>((resolve) => void child.once('close', resolve));
  await Promise.all([read(child.stdout), read(child.stderr)]);
  const code = await ended;
  if (code !== 0) throw new Error(`rollout.sh ${args.join(' ')} ended with ${code}: ${lines.slice(-5).join('; ')}`);
  return lines.join('\n');
}

const operator = [
  ...['--nats', 'tls://server-1:4222,tls://server-2:4222,tls://server-3:4222'],
  ...['--nats-tls-ca', '/etc/mesobus/ca.pem', '--nats-creds', '/etc/mesobus/creds/operator.creds'],
];

/** A task that counts, once in a fifth of a second, with its pid: `17 of 4711`. */
class Counter {
  readonly #process: ChildProcess;
  readonly lines: string[] = [];
  readonly #news: Array<() => void> = [];

  constructor(rack: Rack) {
    const count = 'n=0; while sleep 0.2; do n=$((n + 1)); echo "$n of $$"; done';
    const [program, args] = rack.commandOn(
      servers[0] as string,
      'mesobus',
      'run',
      ...operator,
      '--name',
      'counter',
      '--',
      count,
    );
    this.#process = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    createInterface({ input: this.#process.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      this.lines.push(line);
      for (const wake of this.#news.splice(0)) wake();
    });
  }

  /** Waits for so many more lines. */
  async more(count: number): Promise<void> {
    const goal = this.lines.length + count;
    const deadline = AbortSignal.timeout(taskTimeoutMs);
    while (this.lines.length < goal) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      this.#news.push(resolve);
      const late = (): void => reject(new Error(`the task says no more: ${this.lines.slice(-3).join('; ')}`));
      deadline.addEventListener('abort', late);
      await promise.finally(() => deadline.removeEventListener('abort', late));
    }
  }

  /** Whether it is one process that has counted from 1 without a gap. */
  get isWhole(): boolean {
    const pid = this.lines[0]?.split(' of ')[1];
    return this.lines.every((line, at) => line === `${at + 1} of ${pid}`);
  }

  stop(): void {
    this.#process.kill('SIGKILL');
  }
}

/** The versions of the services that run on a machine, but for nats-server, which is the same in both packages. */
async function versionsOn(rack: Rack, name: string): Promise<string[]> {
  const script = `
    for unit in $(systemctl list-units --plain --no-legend 'mesobus-*.service' | cut -d ' ' -f 1); do
      readlink "/proc/$(systemctl show --value -p MainPID "$unit")/exe"
    done | sed -n 's|^/opt/mesobus/\\([^/]*\\)/bin/node$|\\1|p'`;
  const found = await rack.on(name, 'sh', '-c', script);
  return [...new Set(found.split('\n').filter((line) => line !== ''))];
}

async function install(stage: Stage): Promise<void> {
  const { rack, config, packages } = stage;
  await rollOut(stage, '--package', packages[before] as string, '--config', config, '--first');
  const again = await rollOut(stage, '--package', packages[before] as string, '--config', config);
  must('the second run changes nothing', again.match(/nothing to change/g)?.length === machines.length, again);
  for (const name of machines) {
    const said = await rack.on(
      name,
      'sh',
      '-c',
      'systemd-analyze verify /usr/local/lib/systemd/system/mesobus* 2>&1 || true',
    );
    must(`systemd-analyze finds nothing to say of the units of ${name}`, said === '', said);
  }
  const doctor = await rack.on(servers[0] as string, 'mesobus', 'doctor', ...operator);
  must('the doctor finds nothing', doctor.includes('nothing is wrong'), doctor);
}

async function upgrade(stage: Stage, counter: Counter): Promise<void> {
  const { rack, config, packages } = stage;
  await counter.more(3);
  await rollOut(stage, '--package', packages[after] as string, '--config', config);
  for (const name of machines) {
    const found = await versionsOn(rack, name);
    must(`${name} runs ${after}`, found.join() === after, found);
  }
  await counter.more(3);
  must('the task is the same process and has said all', counter.isWhole, counter.lines.slice(-20));
}

/** A NATS server whose disk is gone, as docs/operations/replacing-a-nats-node.md says. */
async function replaceDisk(stage: Stage, counter: Counter): Promise<void> {
  const [first, second] = servers as [string, string];
  await stage.rack.on(second, 'sh', '-c', 'systemctl stop mesobus-nats && rm -rf /var/lib/mesobus-nats/jetstream');
  const one = { ...stage, inventory: join(stage.work, 'replaced') };
  writeFileSync(one.inventory, `${second} nats control\n`);
  await rollOut(one, '--package', stage.packages[after] as string, '--config', stage.config);
  const doctor = await stage.rack.on(first, 'mesobus', 'doctor', ...operator);
  must('a NATS server that has lost its disk is whole again', doctor.includes('nothing is wrong'), doctor);
  await counter.more(3);
  must('the task has not noticed', counter.isWhole, counter.lines.slice(-20));
}

/** On one machine: what somebody has edited stays, and the version before comes back. */
async function takeBack(stage: Stage, counter: Counter): Promise<void> {
  const { rack, config, packages } = stage;
  await rack.on(agent, 'sh', '-c', 'echo "# edited" >>/etc/mesobus/agent.env');
  appendFileSync(join(config, 'agent/agent.env'), '# of a new configuration\n');
  const one = { ...stage, inventory: join(stage.work, 'one') };
  writeFileSync(one.inventory, `${agent} agent\n`);
  await rollOut(one, '--package', packages[after] as string, '--config', config);
  const edited = await rack.on(agent, 'tail', '-n', '1', '/etc/mesobus/agent.env', '/etc/mesobus/agent.env.new');
  must('what was edited stays, the new one is beside it', /# edited[\s\S]*# of a new/.test(edited), edited);
  await rollOut(one, '--activate', before);
  must(`${agent} runs ${before} again`, (await versionsOn(rack, agent)).join() === before);
  await counter.more(3);
  must('the task is still the same process', counter.isWhole, counter.lines.slice(-20));
}

async function remove(stage: Stage): Promise<void> {
  await rollOut(stage, '--uninstall');
  const again = await rollOut(stage, '--uninstall');
  must('a second removal changes nothing', again.match(/nothing to change/g)?.length === machines.length, again);
  for (const name of machines) {
    const left = leftOn(stage.rack.layerOf(name));
    must(`nothing but data and configuration is left on ${name}`, left.length === 0, left);
  }
}

async function test(debian: string, work: string): Promise<void> {
  say('making two packages');
  const packages = { [before]: await makePackage(before, work), [after]: await makePackage(after, work) };
  const prepared = await prepare(work, packages[after] as string);
  say('starting the machines');
  await using rack = await Rack.start(debian, join(work, 'rack'), machines);
  const stage: Stage = { rack, work, packages, ...prepared };
  await install(stage);
  const counter = new Counter(rack);
  try {
    await upgrade(stage, counter);
    await replaceDisk(stage, counter);
    await takeBack(stage, counter);
  } finally {
    counter.stop();
  }
  await remove(stage);
}

async function findDebian(): Promise<{ debian: string } | { why: string }> {
  const missing = whatIsMissing() ?? (unifiedGroups() === undefined ? 'no cgroup2 is mounted' : undefined);
  if (missing !== undefined) return { why: missing };
  try {
    return { debian: await bringDebian(cache, say) };
  } catch (error) {
    return { why: `there is no Debian: ${(error as Error).message.slice(0, 500)}` };
  }
}

const report = (fields: object): void =>
  void process.stdout.write(`${JSON.stringify({ test: 'vm', ...fields, seconds: seconds() })}\n`);

const found = await findDebian();
if ('why' in found) report({ skipped: found.why });
else {
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(join(cache, 'run-'));
  chmodSync(work, 0o755);
  mkdirSync(join(work, 'rack'));
  const clean = (): void => rmSync(work, { recursive: true, force: true });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      report({ wrong: [`stopped by ${signal}`] });
      process.exit(1); // the machines end with the pipe that they hold
    });
  }
  process.on('exit', clean);
  try {
    await test(found.debian, work);
    report({ machines: machines.length, wrong: [] });
  } catch (error) {
    report({ wrong: [(error as Error).message] });
    process.exitCode = 1;
  }
}
