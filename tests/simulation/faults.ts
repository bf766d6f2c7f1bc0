import type { Fault, FaultKind } from './plan.ts';
import { AgentHost } from './world/agent-host.ts';
import { FrameworkHost } from './world/framework-host.ts';
import type { Host } from './world/host.ts';
import { MasterHost } from './world/master-host.ts';
import type { Line } from './world/network.ts';
import { RegistryHost } from './world/registry-host.ts';
import type { World } from './world/world.ts';

/** After so long without a word, a NATS server and its client give up their connection. */
const connectionGivenUpMs = 4_000;

/** Makes something go wrong, for so long. Returns what ends it, if it does not end by itself. */
type Strike = (world: World, host: Host, ms: number) => (() => void) | undefined;

/** What can go wrong. Whatever ends after its time is given back as a call. */
const strikes: Readonly<Record<FaultKind, Strike>> = {
  crash: (_, host, ms) => nothing(host.crash(ms)),
  crash_leader: (_, host, ms) => nothing(host.crash(ms)),
  crash_unread_leader: crashUnread,
  crash_draining_leader: crashDraining,
  stop_leader: (_, host) => (host instanceof MasterHost ? nothing(host.stop()) : undefined),
  pause: (_, host) => pause(host),
  pause_leader: (_, host) => pause(host),
  oversleep_leader: oversleep,
  partition: (world, host, ms) => cutOff(world, host, ms),
  partition_leader: (world, host, ms) => cutOff(world, host, ms),
  partition_in: (_, { line }) => change(line, { inCut: true }, { inCut: false }),
  partition_out: (_, { line }) => change(line, { outCut: true }, { outCut: false }),
  loss: (_, { line }) => change(line, { loss: 0.15 }, { loss: 0 }),
  duplication: (_, { line }) => change(line, { duplication: 0.3 }, { duplication: 0 }),
  delay: (_, { line }) => change(line, { extraDelayMs: 400 }, { extraDelayMs: 0 }),
  slow_tail: (_, { line }) => change(line, { tailDelayMs: 2_500 }, { tailDelayMs: 0 }),
  crash_writing: (_, host, ms) =>
    host instanceof AgentHost ? nothing(Object.assign(host.disk, { onNextWrite: () => host.crash(ms) })) : undefined,
  crash_starting: (_, host, ms) =>
    host instanceof AgentHost
      ? nothing(Object.assign(host.containers, { onNextPrepared: () => host.crash(ms) }))
      : undefined,
  disconnect: (_, host) => {
    host.setConnected(false);
    return () => host.setConnected(true);
  },
  stall: ({ stream, engine }, _, ms) => nothing(Object.assign(stream, { stalledUntil: engine.now + ms })),
  lost_answers: ({ stream }) => change(stream, { answerLoss: 0.3 }, { answerLoss: 0 }),
  lagging_readers: ({ stream }) => change(stream, { lagOfReaders: 60 }, { lagOfReaders: 0 }),
  reboot: (_, host, ms) => (host instanceof AgentHost ? nothing(host.reboot(ms)) : undefined),
  slow_disk: (_, host) =>
    host instanceof AgentHost ? change(host.disk, { slowness: 300 }, { slowness: 1 }) : undefined,
  full_disk: (_, host) => (host instanceof AgentHost ? fill(host) : undefined),
  lose_container: (_, host) => (host instanceof AgentHost ? nothing(host.loseContainer()) : undefined),
  damage: (_, host) => (host instanceof RegistryHost ? nothing(Object.assign(host, { damageNext: true })) : undefined),
  twin: (_, host, ms) => (host instanceof FrameworkHost ? nothing(host.twin(ms)) : undefined),
  abandon: (_, host) => nothing(host.retire()),
};

const nothing = (_: unknown): undefined => undefined;

/** Lets a fault happen, and end. */
export function strike(world: World, { kind, ms, host: name }: Fault): void {
  const isOfStream = kind === 'stall' || kind === 'lost_answers' || kind === 'lagging_readers';
  const host = kind.endsWith('_leader') ? world.leader : world.hosts.find((one) => one.name === name);
  const victim = isOfStream ? world.hosts[0] : host;
  if (victim === undefined || victim.retired) return;
  world.tell('fault', kind, { ...(!isOfStream && { host: victim.name }), ms });
  const end = strikes[kind](world, victim, ms);
  if (end !== undefined) world.engine.after(ms, undefined, end);
}

/** The leader dies while no standby hears of what it writes last. */
function crashUnread({ engine, masters }: World, host: Host, ms: number): () => void {
  const others = masters.filter((master) => master !== host);
  const ends = others.map(({ line }) => change<Line>(line, { tailDelayMs: 4_000 }, { tailDelayMs: 0 }));
  engine.after(200, undefined, () => host.crash(ms));
  return () => {
    for (const end of ends) end();
  };
}

/** The leader dies a moment after the next drain has begun of an agent that has tasks. */
function crashDraining(world: World, _: Host, ms: number): undefined {
  const { engine, dice, witness } = world;
  witness.drains.onNextBegun = () => engine.after(dice.between(0, 600), undefined, () => world.leader?.crash(ms));
}

/**
 * The leader stands still until another one leads whom the agents obey. It goes on, and hears what has come meanwhile, just
 * as they start again while the new leader stands still. Of what it said last the agents have heard nothing.
 *
 * @param ms - how long they take to start
 */
function oversleep(world: World, leader: Host, ms: number): undefined {
  const { engine, agents, witness } = world;
  const { process } = leader;
  const { epoch } = witness.epoch;
  const cuts = agents.map(({ line }) => change<Line>(line, { inCut: true }, { inCut: false }));
  engine.after(connectionGivenUpMs - 1_000, undefined, () => {
    process?.pause();
    for (const end of cuts) end();
    look();
  });
  function look(tries = 0): void {
    const next = witness.epoch.epoch > epoch && world.leader?.serving ? world.leader : undefined;
    if (tries > 60) process?.resume();
    else if (next === undefined) engine.after(500, undefined, () => look(tries + 1));
    else engine.after(world.dice.between(0, 700), undefined, () => startAgain(next));
  }
  function startAgain(next: Host): void {
    for (const agent of agents) agent.crash(ms);
    const goOn = pause(next);
    engine.after(ms + 200, undefined, () => process?.resume());
    engine.after(ms + 800, undefined, goOn);
  }
}

function change<T extends object>(what: T, to: Partial<T>, back: Partial<T>): () => void {
  Object.assign(what, to);
  return () => Object.assign(what, back);
}

/** Something else takes all the room on a disk, but for what is set aside and perhaps a little more. */
function fill({ disk, world }: AgentHost): () => void {
  disk.fill(world.dice.pick([0, 0, 300, 2_000]));
  return () => disk.fill(Number.POSITIVE_INFINITY);
}

/** Of the process that runs now: one that is started meanwhile does not stand still. */
function pause({ process }: Host): () => void {
  process?.pause();
  return () => process?.resume();
}

/** Nothing comes through either way; when both sides have noticed, the connection is gone until the way is free again. */
function cutOff({ engine }: World, host: Host, ms: number): () => void {
  const open = change<Line>(host.line, { inCut: true, outCut: true }, { inCut: false, outCut: false });
  if (ms > connectionGivenUpMs) engine.after(connectionGivenUpMs, undefined, () => host.setConnected(false));
  return () => {
    open();
    host.setConnected(true);
  };
}
