// npm run test:machine: the tests of control groups on version 2, whatever this machine has: in a small emulated machine
// with a kernel of Debian, made from this checkout. Nothing is installed; without the packages nothing is run, and it
// says why. Prints what the tests say, then one JSON object. Exits with 1 if any failed, or was skipped in there.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Image, makeImage } from './image.ts';
import { bringPackages, type Packages, whatIsMissing } from './packages.ts';

const cache = fileURLToPath(new URL('../../node_modules/.cache/mesobus-machine', import.meta.url));
const work = `${cache}-${process.pid}`;
const tests = ['test/shell/isolation.test.ts', 'test/shell/isolated-agent.test.ts'];
/** Of memory; more than this is not used. */
const megabytes = 1536;
/**
 * One, and an old one: with two, and all that the emulator can do, node crashes in there now and then, or waits for ever
 * for a thread of its own. Node makes code as it runs, and uses what of the processor is emulated least well.
 */
const processor = 'Nehalem';
const limitMs = 1_800_000;
/** The machine itself says of a test that it is stuck, and sooner. */
const silenceMs = 600_000;

interface Outcome {
  readonly passed: number;
  readonly failed: readonly string[];
  readonly skipped: readonly string[];
  /** Undefined: the machine has not come so far. */
  readonly status: number | undefined;
  readonly machine: string;
}

const beganAt = performance.now();
const interrupt = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => interrupt.abort(new Error(`stopped by ${signal}`)));
}

const say = (line: string): void => {
  process.stderr.write(`${((performance.now() - beganAt) / 1000).toFixed(1).padStart(6)} s  machine: ${line}\n`);
};
const report = (fields: object): void => {
  const seconds = Math.round((performance.now() - beganAt) / 1000);
  process.stdout.write(`${JSON.stringify({ test: 'machine', ...fields, seconds })}\n`);
};

/**
 * Runs it until it switches itself off.
 *
 * @throws {Error} it takes too long, or says nothing any more
 */
async function run(emulator: string, image: Image): Promise<Outcome> {
  const late = new AbortController();
  const endFor = (why: string, ms: number) => setTimeout(() => late.abort(new Error(why)), ms);
  const limit = endFor(`the machine was not done within ${limitMs / 60_000} minutes`, limitMs);
  const silence = endFor(`the machine said nothing for ${silenceMs / 60_000} minutes`, silenceMs);
  const library = ['lib', 'usr/lib'].map((folder) => join(emulator, folder, 'x86_64-linux-gnu'));
  const child = spawn(
    join(emulator, 'usr/bin/qemu-system-x86_64'),
    [
      ...['-accel', 'tcg,thread=single', '-cpu', processor, '-m', String(megabytes), '-smp', '1'],
      ...['-nographic', '-no-reboot', '-nodefaults', '-serial', 'stdio', '-net', 'none'],
      ...['-L', join(emulator, 'usr/share/qemu'), '-L', join(emulator, 'usr/share/seabios')],
      ...['-kernel', image.kernel, '-initrd', image.initramfs],
      ...['-append', 'console=ttyS0 quiet panic=-1 cgroup_no_v1=all'],
      ...['-drive', `file=${image.disk},format=raw,if=virtio`],
    ],
    {
      env: { ...process.env, LD_LIBRARY_PATH: library.join(':') },
      stdio: ['ignore', 'pipe', 'inherit'],
      signal: AbortSignal.any([interrupt.signal, late.signal]),
      killSignal: 'SIGKILL',
    },
  );
  const [failed, skipped]: [string[], string[]] = [[], []];
  let [passed, machine]: [number, string] = [0, ''];
  let status: number | undefined;
  const ended = once(child, 'close');
  ended.catch(() => undefined); // told below, when all that it said is read
  for await (const line of createInterface({ input: child.stdout })) {
    silence.refresh();
    process.stderr.write(`${line}\n`);
    const [, not, title = ''] = /^(not )?ok \d+ - (.*)$/.exec(line.trimEnd()) ?? [];
    if (title.includes('# SKIP')) skipped.push(title);
    else if (not !== undefined) failed.push(title);
    else if (title !== '') passed += 1;
    machine = /machine: (linux .*)/.exec(line.trimEnd())?.[1] ?? machine; // after what clears the screen
    const end = /^machine: the tests ended with (\d+)/.exec(line)?.[1];
    if (end !== undefined) status = Number(end);
  }
  for (const timer of [limit, silence]) clearTimeout(timer);
  late.signal.throwIfAborted();
  await ended;
  return { passed, failed, skipped, status, machine };
}

async function findPackages(): Promise<Packages | { why: string }> {
  const missing = whatIsMissing();
  if (missing !== undefined) return { why: missing };
  try {
    return await bringPackages(cache, say);
  } catch (error) {
    return { why: (error as Error).message };
  }
}

try {
  const packages = await findPackages();
  if ('why' in packages) report({ skipped: packages.why });
  else {
    say('making its disk');
    const image = await makeImage(work, packages, tests);
    say('starting it');
    const { passed, failed, skipped, status, machine } = await run(packages.emulator, image);
    const wrong = [...failed, ...skipped];
    if (status === undefined) wrong.push('the machine went off before its tests had ended');
    else if (status !== 0) wrong.push(`the tests ended with ${status}`);
    else if (passed === 0) wrong.push('no test has run');
    report({ machine, passed, failed: failed.length, skipped_inside: skipped.length, wrong });
    if (wrong.length > 0) process.exitCode = 1;
  }
} catch (error) {
  const { message } = interrupt.signal.aborted ? (interrupt.signal.reason as Error) : (error as Error);
  report({ wrong: [message] });
  process.exitCode = 1;
} finally {
  rmSync(work, { recursive: true, force: true });
}
