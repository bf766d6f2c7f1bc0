import { setTimeout as sleep } from 'node:timers/promises';
import { rounded } from '../bench/percentiles.ts';
import { JetStreamView } from './jetstream-view.ts';
import { Network, NoNetworkError } from './network.ts';
import type { Result, Scenario } from './scenario.ts';
import { type RunOptions, Stage } from './stage.ts';
import { wallMs } from './workload.ts';

/** Longer than the lease of a leader. */
const leaseCutMs = 25_000;
/** Longer than an agent may be silent before it counts as unreachable. */
const agentCutMs = 40_000;
const lookEveryMs = 250;

/** Who is cut off, for how long, and what must have come of it before the links are mended. */
interface Cut {
  readonly what: string;
  readonly forMs: number;
  choose(stage: Stage, view: JetStreamView): Promise<string[]>;
}

const cuts: readonly Cut[] = [
  {
    what: 'the leader, with a NATS server that has no majority',
    forMs: leaseCutMs,
    async choose({ cluster, options }, view) {
      const { name } = await cluster.leader();
      const leading = await view.untilWhole(options.signal);
      return [name, ['nats-1', 'nats-2', 'nats-3'].find((server) => server !== leading) as string];
    },
  },
  { what: 'an agent', forMs: agentCutMs, choose: async () => ['agent-1'] },
  {
    what: "the NATS server that leads the log's stream",
    forMs: leaseCutMs,
    choose: async ({ options }, view) => [await view.untilWhole(options.signal)],
  },
];

export const partition: Scenario = {
  tells: 'links between network namespaces are cut: the leader on the small side, an agent alone, a NATS server alone',
  async run(options) {
    try {
      using network = Network.create();
      return await cutLinks(network, options);
    } catch (error) {
      if (error instanceof NoNetworkError) return { skipped: error.message };
      throw error;
    }
  },
};

async function cutLinks(network: Network, options: RunOptions): Promise<Result> {
  const { placeOf } = network;
  await using stage = await Stage.set({ ...options, placeOf, name: 'partition', seconds: [5, 25], slots: 120 });
  await using view = await JetStreamView.on(stage.cluster);
  stage.workload.start();
  const aim = async (index: number) => {
    const cut = cuts[index] as Cut;
    return { ...cut, names: await cut.choose(stage, view) };
  };
  const rows = await stage.strike(cuts.length, aim, (cut) => cutOff(network, stage, view, cut));
  return { outcome: await stage.finish(), figures: { cuts: rows } };
}

async function cutOff(
  network: Network,
  { options, workload, operator, leaders }: Stage,
  view: JetStreamView,
  { what, forMs, names }: Cut & { readonly names: readonly string[] },
) {
  const reigns = leaders.changes;
  network.cutOff(names);
  const at = wallMs();
  options.say(`cut off: ${what} (${names.join(', ')})`);
  const { runningMs } = await workload.nextLaunch(at);
  options.say(`the next launch runs after ${Math.round(runningMs)} ms`);
  await sleep(Math.max(0, at + forMs - wallMs()), undefined, { signal: options.signal });
  network.heal();
  const healedAt = wallMs();
  await view.untilWhole(options.signal);
  const isBack = async (): Promise<boolean> =>
    (await operator.connections()).agents.filter((one) => one.connected).length === 4;
  while (!(await isBack())) await sleep(lookEveryMs, undefined, { signal: options.signal });
  const wholeMs = wallMs() - healedAt;
  options.say(`mended; after ${Math.round(wholeMs)} ms every agent and every replica is back`);
  return {
    what,
    cut_ms: rounded(healedAt - at, 0),
    next_launch_ms: rounded(runningMs, 0),
    whole_again_ms: rounded(wholeMs, 0),
    master_changes: leaders.changes - reigns,
  };
}
