import { setTimeout as sleep } from 'node:timers/promises';
import { rounded } from '../bench/percentiles.ts';
import type { Scenario } from './scenario.ts';
import { Stage } from './stage.ts';
import { wallMs } from './workload.ts';

/** Longer than the lease: a leader that keeps its interest in the subjects is replaced when its lease is over. */
const pauseMs = 20_000;

export const pause: Scenario = {
  tells: 'the leader is stopped with SIGSTOP for longer than its lease; when it goes on, another leads',
  async run(options) {
    await using stage = await Stage.set({ ...options, name: 'pause', seconds: [1, 5], slots: 120 });
    const { cluster, leaders, workload } = stage;
    workload.start();
    const aim = () => cluster.leader();
    const [blow] = await stage.strike(1, aim, async ({ name, masterId, epoch }) => {
      const at = wallMs();
      await cluster.kill(name, 'SIGSTOP');
      const next = await leaders.after(epoch.epoch, options.signal);
      const { runningMs } = await workload.nextLaunch(at);
      options.say(`${name} pauses; another leads after ${Math.round(next.at - at)} ms`);
      await sleep(Math.max(0, at + pauseMs - wallMs()), undefined, { signal: options.signal });
      await cluster.kill(name, 'SIGCONT');
      const goesOnAt = wallMs();
      // It must not disturb: launches go on, and the other one still leads.
      await workload.nextLaunch(goesOnAt);
      return { masterId, leaderMs: next.at - at, runningMs };
    });
    const outcome = await stage.finish();
    const { masterId, leaderMs, runningMs } = blow as NonNullable<typeof blow>;
    const again = leaders.reigns.slice(1).some((reign) => reign.masterId === masterId);
    return {
      outcome,
      figures: { paused_ms: pauseMs, next_leader_ms: rounded(leaderMs, 0), next_launch_ms: rounded(runningMs, 0) },
      wrong: [
        ...(again ? ['the paused master has led again without a campaign as a new process'] : []),
        ...(outcome.master_changes === 1 ? [] : [`the leader changed ${outcome.master_changes} times, not once`]),
      ],
    };
  },
};
