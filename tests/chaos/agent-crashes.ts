// One agent is killed with -9 again and again: while it starts, right after, and while its tasks start, run and end.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { type LocalCluster, startLocalCluster, stopRecordedCluster } from '@mesobus/cli/local-cluster';
import { CrashLoad } from './crash-load.ts';
import { CrashingAgent } from './crashing-agent.ts';
import { clearAway, type LeftOver, leftOver } from './left-over.ts';
import { type Result, type Scenario, spread } from './scenario.ts';
import type { RunOptions } from './stage.ts';

const slots = 30;
/** Where nothing happens for so long, the next blow comes all the same. */
const quietMs = 10_000;
const afterMs = 250;
const firstStartMs = 1_000;
/** What is killed needs a moment to be gone. */
const goneWithinMs = 30_000;
const wrongShown = 20;

type Moment = 'starting' | 'ready' | 'working';

/** Each at random, the first two in a quarter of the rounds. */
const momentOf = (dice: number): Moment => (dice < 0.25 ? 'starting' : dice < 0.5 ? 'ready' : 'working');

export const agentCrashes: Scenario = {
  tells: 'one agent is killed with -9 as often as --rounds says, at random moments of its life and of its tasks',
  async run(options: RunOptions): Promise<Result> {
    const { signal, keep = false } = options;
    const dir = options.dir ?? path.resolve('.mesobus', 'chaos-agent-crashes');
    const workDir = path.join(dir, 'agents', 'crashing');
    const name = `crashing-${createHash('sha256').update(dir).digest('hex').slice(0, 8)}`;
    await clearAway(name, workDir);
    if (existsSync(dir)) await stopRecordedCluster({ dir, purge: true });
    const cluster = await startLocalCluster({ dir, agents: 0, signal });
    try {
      return await crash(
        options,
        cluster,
        new CrashingAgent(cluster, { name, workDir, resources: `cpus:${slots};mem:8192;disk:8192` }),
      );
    } finally {
      await clearAway(name, workDir);
      await cluster.stop({ purge: !keep });
    }
  },
};

/** Strikes, then lets everything come to its end, and counts. */
async function crash(options: RunOptions, cluster: LocalCluster, agent: CrashingAgent): Promise<Result> {
  const { rounds, say, signal } = options;
  const load = new CrashLoad(cluster, { slots, signal, say });
  await load.start();
  try {
    await agent.start();
    const executorBefore = await load.executorProcess('before');
    const { blows, alive, starts } = await strike(options, load, agent);
    await agent.start();
    const executorAfter = await load.executorProcess('after');
    say(`killed ${rounds} times: ${load.launched} tasks, ${load.underWay} under way, which now end`);
    await load.rest();
    const look = (): LeftOver => leftOver(agent.name, agent.workDir);
    await untilGone(() => [look().control_folders], signal); // which it removes, as long as it runs
    await agent.end('SIGTERM');
    await untilGone(() => Object.values(look()), signal);
    const left = look();
    const { outcome, ends, unreachable, wrong } = load.judge();
    if (executorBefore !== executorAfter) wrong.push('the executor has not outlived its agents');
    for (const [what, of] of Object.entries(left)) wrong.push(...of.map((one: string) => `left over: ${what} ${one}`));
    const figures = {
      ...{ kills: rounds, at: blows, ends, unreachable, left_over: countsOf(left) },
      ...{ start_ms: spread(starts), under_way_at_blows: spread(alive) },
    };
    return { outcome, figures, wrong: wrong.slice(0, wrongShown) };
  } finally {
    await load.stop();
  }
}

/** Kills it so many times; it runs before, and is killed at the end. */
async function strike({ rounds, say, signal }: RunOptions, load: CrashLoad, agent: CrashingAgent) {
  const blows: Record<Moment, number> = { starting: 0, ready: 0, working: 0 };
  const alive: number[] = [];
  const starts: number[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    const moment = momentOf(Math.random());
    if (round > 1) {
      const beganAt = performance.now();
      const ready = agent.start();
      if (moment === 'starting') await wait(Math.random() * (starts.at(-1) ?? firstStartMs), undefined, { signal });
      else {
        await ready;
        starts.push(performance.now() - beganAt);
      }
    }
    if (moment === 'working') await Promise.race([load.news(), wait(quietMs, undefined, { signal })]);
    if (moment !== 'starting') await wait(Math.random() * afterMs, undefined, { signal });
    alive.push(load.underWay);
    await agent.end('SIGKILL');
    blows[moment] += 1;
    if (round % 20 === 0) say(`killed ${round} times: ${load.launched} tasks, ${load.underWay} under way`);
  }
  return { blows, alive, starts };
}

const countsOf = (left: LeftOver): Record<string, number> =>
  Object.fromEntries(Object.entries(left).map(([what, of]) => [what, of.length]));

/** Waits until nothing is left, or what is has had its time. */
async function untilGone(look: () => readonly (readonly string[])[], signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + goneWithinMs;
  while (performance.now() < deadline && look().some((kind) => kind.length > 0)) await wait(100, undefined, { signal });
}
