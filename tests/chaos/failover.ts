import type { Leader } from '@mesobus/cli/local-cluster';
import { type Scenario, spread } from './scenario.ts';
import { Stage } from './stage.ts';
import { wallMs } from './workload.ts';

const kills = 5;
const handovers = 3;

/** The leader is killed, or asked to stop, and comes back as a standby. */
export async function replaceLeader(stage: Stage, { name, epoch }: Leader, signal: 'SIGKILL' | 'SIGTERM') {
  const { cluster, leaders, workload, options } = stage;
  const at = wallMs();
  const ended = cluster.kill(name, signal);
  const leaderMs = (await leaders.after(epoch.epoch, options.signal)).at - at;
  const { acceptedMs, runningMs } = await workload.nextLaunch(at);
  const times = [leaderMs, acceptedMs, runningMs].map((ms) => `${Math.round(ms)} ms`);
  options.say(
    `${signal} to ${name}: another leads after ${times[0]}, launch in the log ${times[1]}, running ${times[2]}`,
  );
  await ended;
  await cluster.untilReady(name);
  return { leaderMs, acceptedMs, runningMs };
}

export const failover: Scenario = {
  tells: 'the leader is killed with -9 five times; then it is stopped in order three times',
  async run(options) {
    await using stage = await Stage.set({ ...options, name: 'failover', seconds: [2, 8], slots: 120 });
    stage.workload.start();
    const blows = await stage.strike(
      kills + handovers,
      () => stage.cluster.leader(),
      (leader, index) => replaceLeader(stage, leader, index < kills ? 'SIGKILL' : 'SIGTERM'),
    );
    const [killed, stopped] = [blows.slice(0, kills), blows.slice(kills)];
    return {
      outcome: await stage.finish(),
      figures: {
        kills,
        // From the kill to TASK_RUNNING of the first task whose ACCEPT was sent after it.
        next_launch_ms: spread(killed.map(({ runningMs }) => runningMs)),
        // To the answer to that ACCEPT: the launch is in the log.
        next_accept_ms: spread(killed.map(({ acceptedMs }) => acceptedMs)),
        // To the first beat of the next leader.
        next_leader_ms: spread(killed.map(({ leaderMs }) => leaderMs)),
        handovers,
        // From SIGTERM to the first beat of the next leader.
        handover_ms: spread(stopped.map(({ leaderMs }) => leaderMs)),
      },
    };
  },
};
