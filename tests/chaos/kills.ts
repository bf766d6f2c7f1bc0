// Whoever may die does, with -9: the appointed allocator, a registry, every agent, the framework.
import { type Scenario, spread } from './scenario.ts';
import { Stage } from './stage.ts';
import { wallMs } from './workload.ts';

interface Killing {
  readonly name: string;
  readonly tells: string;
  readonly kills: number;
  /** Kills; gives who it was, and what is to be waited for before the next blow. */
  kill(stage: Stage, index: number): Promise<{ who: string; back: Promise<unknown> }>;
}

/** Kills as often as it says; after each blow a new launch must come. */
const killing = ({ name, tells, kills, kill }: Killing): Scenario => ({
  tells,
  async run(options) {
    await using stage = await Stage.set({ ...options, name, seconds: [1, 5], slots: 120 });
    stage.workload.start();
    const launches = await stage.strike(kills, async (index) => {
      const at = wallMs();
      const { who, back } = await kill(stage, index);
      const { runningMs } = await stage.workload.nextLaunch(at);
      options.say(`${who} was killed: the next launch runs after ${Math.round(runningMs)} ms`);
      await back;
      return runningMs;
    });
    return { outcome: await stage.finish(), figures: { kills, next_launch_ms: spread(launches) } };
  },
});

async function killProcess({ cluster }: Stage, who: string): Promise<{ who: string; back: Promise<unknown> }> {
  await cluster.kill(who);
  return { who, back: cluster.untilReady(who) };
}

export const allocator = killing({
  name: 'allocator',
  tells: 'the appointed allocator is killed with -9 five times',
  kills: 5,
  async kill(stage) {
    const who = await stage.cluster.appointedAllocator();
    if (who === undefined) throw new Error('no allocator is appointed although tasks are launched');
    return killProcess(stage, who);
  },
});

export const registry = killing({
  name: 'registry',
  tells: 'each of the two registries is killed with -9 twice',
  kills: 4,
  kill: (stage, index) => killProcess(stage, `registry-${(index % 2) + 1}`),
});

export const agents = killing({
  name: 'agents',
  tells: 'every agent is killed with -9 in turn; its tasks go on',
  kills: 4,
  kill: (stage, index) => killProcess(stage, `agent-${index + 1}`),
});

export const framework = killing({
  name: 'framework',
  tells: 'the framework is killed with -9 five times and subscribes again with its id',
  kills: 5,
  async kill({ workload }) {
    await workload.kill();
    workload.start();
    return { who: 'the framework', back: Promise.resolve() };
  },
});
