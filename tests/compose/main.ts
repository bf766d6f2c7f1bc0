// npm run test:compose: infra/compose on a daemon of Docker of our own, with images made of the package and of programs
// of this machine. Prints one JSON object. Exits with 1 if anything was lost, done twice or left over; where no daemon can
// run it says why, and passes.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Dockerd } from '../../services/agent/test/docker/dockerd.ts';
import { findPrograms } from './programs.ts';
import { replicated } from './replicated.ts';
import { small } from './small.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const limitMs = 600_000;

const beganAt = performance.now();
const secondsSince = (at: number): number => Math.round((performance.now() - at) / 100) / 10;
const say = (line: string): void => {
  process.stderr.write(`${secondsSince(beganAt).toFixed(1).padStart(6)} s  compose: ${line}\n`);
};
const report = (fields: object): void => {
  process.stdout.write(`${JSON.stringify({ test: 'compose', ...fields, seconds: secondsSince(beganAt) })}\n`);
};

const interrupt = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => interrupt.abort(new Error(`stopped by ${signal}`)));
}

async function run(): Promise<boolean> {
  const found = findPrograms();
  if ('why' in found) {
    report({ skipped: found.why });
    return true;
  }
  say('making the package');
  execFileSync('npm', ['run', '--silent', 'package'], { cwd: root, stdio: ['ignore', 2, 2] });
  say('starting a daemon of Docker');
  const dockerd = await Dockerd.start(found.path);
  const signal = AbortSignal.any([interrupt.signal, AbortSignal.timeout(limitMs)]);
  const world = { dockerd, compose: found.compose, say, secondsSince, signal };
  const wrong: string[] = [];
  try {
    const figures = await replicated(world, wrong);
    const ofSmall = await small(world, wrong);
    report({ ...figures, ...ofSmall, wrong });
  } catch (error) {
    say(`failed: ${(error as Error).stack}`);
    wrong.push((error as Error).message);
    report({ wrong });
  } finally {
    await dockerd.stop();
  }
  return wrong.length === 0;
}

process.exitCode = (await run()) ? 0 : 1;
