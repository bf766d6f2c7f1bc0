import { rounded } from '../bench/percentiles.ts';
import { BareStream } from './bare-stream.ts';
import { JetStreamView } from './jetstream-view.ts';
import { type Scenario, spread } from './scenario.ts';
import { Stage } from './stage.ts';
import { wallMs } from './workload.ts';

const kills = 5;
/** What Mesobus may add to JetStream's own stall. */
const allowedMs = 1_000;

interface Stall {
  /** The longest time without a launch that stands in the log. */
  readonly stallMs: number;
  /** For so long the stream of the log had no leader, so that nobody could have written to it. */
  readonly leaderlessMs: number;
  /** The longest time without an acknowledged write to a bare stream that the same server led. */
  readonly bareMs: number;
}

export const nats: Scenario = {
  tells: "the NATS server that leads the log's stream is killed with -9 five times",
  async run(options) {
    await using stage = await Stage.set({ ...options, name: 'nats', seconds: [1, 5], slots: 120 });
    await using view = await JetStreamView.on(stage.cluster);
    await using bare = await BareStream.create(view);
    stage.workload.start();
    const aim = async (): Promise<string> => {
      const server = await view.untilWhole(options.signal);
      await bare.leadFrom(server, options.signal);
      return server;
    };
    const stalls = await stage.strike(kills, aim, (server) => killServer(stage, server, view, bare));
    const outcome = await stage.finish();
    const tooLong = stalls.filter(
      ({ stallMs, leaderlessMs, bareMs }) => stallMs > Math.max(leaderlessMs, bareMs) + allowedMs,
    );
    const rows = stalls.map(({ stallMs, leaderlessMs, bareMs }) => ({
      stall_ms: rounded(stallMs, 0),
      leaderless_ms: rounded(leaderlessMs, 0),
      bare_ms: rounded(bareMs, 0),
    }));
    return {
      outcome,
      figures: { kills, stall_ms: spread(stalls.map(({ stallMs }) => stallMs)), stalls: rows },
      wrong: [
        ...(outcome.master_changes === 0 ? [] : [`the leading master changed ${outcome.master_changes} times`]),
        ...tooLong.map(({ stallMs }) => `a stall of ${Math.round(stallMs)} ms is longer than JetStream's own plus 1 s`),
      ],
    };
  },
};

/** Kills the server that leads the log and the bare stream, and waits until all is as before. */
async function killServer(
  { cluster, workload, options }: Stage,
  server: string,
  view: JetStreamView,
  bare: BareStream,
): Promise<Stall> {
  const at = wallMs();
  await cluster.kill(server);
  const leaderless = view.untilLed(options.signal).then(() => wallMs() - at);
  const [leaderlessMs] = await Promise.all([leaderless, workload.nextLaunch(at), bare.untilWritten(options.signal)]);
  const stall = { stallMs: workload.longestPause(at), leaderlessMs, bareMs: bare.longestPause(at) };
  options.say(
    `${server}: no launch for ${Math.round(stall.stallMs)} ms; its stream without a leader for ` +
      `${Math.round(leaderlessMs)} ms; a bare stream stalled for ${Math.round(stall.bareMs)} ms`,
  );
  await cluster.untilReady(server);
  return stall;
}
