// Whoever may die does, with -9: the appointed allocator, a registry, every agent, the framework.
import { type Scenario, spread } from './scenario.ts';
import { Stage } from './stage.ts';
import { wallMs } from './workload.ts';

interface Killing {
  readonly name: string;
  readonly tells: string;
  readonly kills: number;
  /** Its process. */
  choose(stage: Stage, index: number): Promise<string>;
  /** Gives what is to be waited for before the next blow. Unless given, the process of the cluster is killed. */
  readonly kill?: (stage: Stage) => Promise<{ back: Promise<unknown> }>;
}

/** Kills as often as it says; after each blow a new launch must come. */
const killing = ({ name, tells, kills, choose, kill }: Killing): Scenario => ({
  tells,
  async run(options) {
    await using stage = await Stage.set({ ...options, name, seconds: [1, 5], slots: 120 });
    stage.workload.start();
    const aim = (index: number): Promise<string> => choose(stage, index);
    const launches = await stage.strike(kills, aim, async (who) => {
      const at = wallMs();
      const { back } = await (kill?.(stage) ?? killProcess(stage, who));
      const { runningMs } = await stage.workload.nextLaunch(at);
      options.say(`${who} was killed: the next launch runs after ${Math.round(runningMs)} ms`);
      await back;
      return runningMs;
    });
    return { outcome: await stage.finish(), figures: { kills, next_launch_ms: spread(launches) } };
  },
});

async function killProcess({ cluster }: Stage, who: string): Promise<{ back: Promise<unknown> }> {
  await cluster.kill(who);
  return { back: cluster.untilReady(who) };
}

export const allocator = killing({
  name: 'allocator',
  tells: 'the appointed allocator is killed with -9 five times',
  kills: 5,
  async choose({ cluster }) {
    const who = await cluster.appointedAllocator();
    if (who === undefined) throw new Error('no allocator is appointed although tasks are launched');
    return who;
  },
});

export const registry = killing({
  name: 'registry',
  tells: 'each of the two registries is killed with -9 twice',
  kills: 4,
  choose: async (_stage, index) => `registry-${(index % 2) + 1}`,
});

export const agents = killing({
  name: 'agents',
  tells: 'every agent is killed with -9 in turn; its tasks go on',
  kills: 4,
  choose: async (_stage, index) => `agent-${index + 1}`,
});

export const framework = killing({
  name: 'framework',
  tells: 'the framework is killed with -9 five times and subscribes again with its id',
  kills: 5,
  choose: async () => 'the framework',
  async kill({ workload }) {
    await workload.kill();
    workload.start();
    return { back: Promise.resolve() };
  },
});
