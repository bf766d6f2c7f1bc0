import { openJournal } from '@mesobus/agent/shell/journal';
import { type Agent, type AgentOptions, startAgent } from '@mesobus/agent/shell/run';
import type { EnvelopeBus } from '@mesobus/sdk/bus';
import { parseResources, toWire } from '@mesobus/sdk/resources';
import type { Dice } from '../engine/dice.ts';
import type { SimulatedProcess } from '../engine/engine.ts';
import { SimulatedContainers } from './containers.ts';
import { SimulatedDisk } from './disk.ts';
import { SimulatedExecutors } from './executors.ts';
import { Host } from './host.ts';
import type { World } from './world.ts';

const folder = (name: string) => ({
  root: name,
  sandboxes: `${name}/sandboxes`,
  containers: `${name}/containers`,
  journal: `${name}/journal`,
  lock: `${name}/lock`,
  executorContact: `${name}/executor-contact`,
  executorSocket: `${name}/executor-socket`,
  cache: '',
  run: `${name}/run`,
});

/** Containers are simulated as a whole, so nobody asks for what would run them. */
const noContainerizer: AgentOptions['containerizers']['process'] = {
  onEvent: () => {},
  start: () => {},
  control: () => {},
  resize: () => {},
  probe: () => {},
  find: async () => [],
  remove: async () => {},
  usage: async () => [],
  run: () => {
    throw new Error('Nothing runs in a simulated container');
  },
  close: async () => {},
};

/** Folders that nobody looks into. */
const noVolumes = { prepare: () => {}, make: () => {}, remove: () => {}, move: () => {}, open: () => '' };

/** Of an agent that was marked gone. */
const goneExitCode = 3;

/** A machine that lends its resources: an agent, a disk, and what runs in containers. */
export class AgentHost extends Host {
  readonly cpus: number;
  readonly mem: number;
  readonly disk: SimulatedDisk;
  readonly containers: SimulatedContainers;
  readonly executors: SimulatedExecutors;
  agent: Agent | undefined;
  #boots = 1;

  constructor(world: World, name: string, size: { readonly cpus: number; readonly mem: number }) {
    super(world, name);
    this.cpus = size.cpus;
    this.mem = size.mem;
    const dice: Dice = world.dice.fork(name);
    this.disk = new SimulatedDisk(world.engine, dice.fork('disk'));
    this.executors = new SimulatedExecutors(world.engine, dice.fork('executors'), {
      onTold: (task) => world.witness.onContainerStarted(this, task),
      onSubscribedAgain: () => world.counters.add('executor subscribed again'),
    });
    this.executors.exit = (containerId, status) => this.containers.exit(containerId, status);
    this.containers = new SimulatedContainers(world.engine, dice.fork('containers'), this.executors, {
      onStarted: (start) => world.witness.onContainerStarted(this, start),
      onEnded: (start) => world.witness.onContainerEnded(this, start),
    });
  }

  protected override main(process: SimulatedProcess, bus: EnvelopeBus): void {
    const { world, disk, containers, executors } = this;
    const started = startAgent({
      facts: {
        agentName: this.name,
        version: 'simulated',
        incarnation: process.name,
        bootId: `boot ${this.#boots}`,
        info: { hostname: this.name, resources: toWire(parseResources(`cpus:${this.cpus};mem:${this.mem}`)) },
      },
      bus,
      subjects: world.subjects,
      workDir: folder(this.name),
      containerizers: { process: noContainerizer },
      switchUser: false,
      log: this.log,
      onStop: (reason, exitCode) => this.#onStop(process, reason, exitCode),
      machine: {
        clock: process.clock,
        now: process.wallMs,
        randomBytes: (size) => process.dice.bytes(size),
        openJournal: (options) =>
          openJournal({
            ...options,
            disk: disk.of(process),
            clock: process.clock,
            reserveBytes: 1024,
            compactAboveBytes: world.plan.journalBytes,
          }),
        createContainers: ({ onEvent }) => containers.of(process, onEvent),
        openExecutors: async (options) => executors.of(process, options),
        openVolumes: () => noVolumes,
        openUsage: () => ({ of: async () => [] }),
      },
    });
    started.then(
      (agent) => {
        this.agent = agent;
      },
      (error: unknown) => world.witness.onAgentUnfit(this, error),
    );
  }

  /** As services/agent/src/main.ts: what is on its way to the disk is written first. */
  #onStop(process: SimulatedProcess, reason: string, exitCode: number): void {
    if (reason.startsWith('Cannot write the journal')) this.world.witness.onDiskFailed(this, reason);
    if (exitCode === goneExitCode) this.world.counters.add('gone agent ended itself');
    const closed = this.agent?.close() ?? Promise.resolve();
    void closed.then(() => this.exit(process, reason));
  }

  override crash(downMs?: number): void {
    if (this.containers.running.length > 0) this.world.counters.add('agent restarted with tasks alive');
    super.crash(downMs);
  }

  /** The supervisor of a container is killed, and what it watches. */
  loseContainer(): void {
    if (this.containers.loseOne()) this.world.counters.add('container lost without a word');
  }

  /** The machine loses its power: what ran has ended, and the disk may have lost what was not synced. */
  reboot(downMs: number): void {
    if (this.containers.running.length > 0) this.world.counters.add('agent rebooted with tasks alive');
    this.#boots += 1;
    this.end();
    this.disk.cutPower();
    this.containers.reboot();
    this.startLater(downMs);
  }

  protected override onEnded(): void {
    this.agent = undefined;
    this.disk.crash();
    this.containers.agentDied();
    this.executors.agentDied();
  }
}
