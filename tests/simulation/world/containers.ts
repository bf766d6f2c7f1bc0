import type { ContainerEnd, ContainerEvent, Control, Effect, FoundContainer } from '@mesobus/agent/core';
import type { Machine } from '@mesobus/agent/shell/run';
import type { Dice } from '../engine/dice.ts';
import type { Engine, SimulatedProcess } from '../engine/engine.ts';

export type Start = Extract<Effect, { kind: 'start' }>;
type Containers = ReturnType<Machine['createContainers']>;

/** What runs, or ran, in a container. */
export interface Container {
  readonly start: Start;
  /** `prepared`: its folder is there, nobody has taken it up. */
  phase: 'prepared' | 'running' | 'ended' | 'lost';
  end: ContainerEnd | undefined;
  cancel: () => void;
  startedAtMs: number;
}

/** What the simulated command does: for how long it runs, and how it exits. */
export const commandText = (runMs: number, exitCode: number): string => `run ${runMs} ${exitCode}`;

/** What runs in the container of an executor instead. */
interface Programs {
  begin(start: Start): void;
  end(containerId: string): void;
}

/** What runs on one machine: it outlives the agent, and not a reboot. */
export class SimulatedContainers {
  readonly all = new Map<string, Container>();
  /** How many were prepared for an agent that died before anybody took them up. */
  neverBegun = 0;
  /** Called once, when a container has been prepared and nobody has taken it up yet. */
  onNextPrepared: (() => void) | undefined;
  readonly #engine: Engine;
  readonly #dice: Dice;
  readonly #onStarted: (start: Start) => void;
  readonly #onEnded: (start: Start) => void;
  #tell: ((event: ContainerEvent) => void) | undefined;

  constructor(
    engine: Engine,
    dice: Dice,
    executors: Programs,
    observer: { onStarted(start: Start): void; onEnded(start: Start): void },
  ) {
    this.#engine = engine;
    this.#dice = dice;
    this.#onStarted = (start) => {
      if (start.executor === undefined) observer.onStarted(start);
      else executors.begin(start);
    };
    this.#onEnded = (start) => {
      if (start.executor === undefined) observer.onEnded(start);
      else executors.end(start.containerId);
    };
  }

  /** As one process of the agent sees them. */
  of(process: SimulatedProcess, onEvent: (event: ContainerEvent) => void): Containers {
    this.#tell = (event) => this.#engine.after(this.#dice.between(0.05, 0.5), process, () => onEvent(event));
    return {
      start: (start) => this.#prepare(start),
      control: (containerId, control) => this.#control(containerId, control),
      probe: (containerIds) => {
        for (const id of containerIds) this.#probe(id);
      },
      find: async () => [...this.all.keys()].map((id) => this.#find(id)),
      resize: () => {},
      usage: async () => [],
      runInside: () => {
        throw new Error('nothing runs inside a simulated container');
      },
      addressOf: async () => undefined,
      terminal: () => undefined,
      close: async () => {},
      remove: (containerId) => {
        this.all.delete(containerId);
        return Promise.resolve();
      },
    };
  }

  get running(): Container[] {
    return [...this.all.values()].filter(({ phase }) => phase === 'running');
  }

  /** The agent's process has died, and its launcher with it: what was not taken up never will be. */
  agentDied(): void {
    this.#tell = undefined;
    for (const container of this.all.values()) {
      if (container.phase !== 'prepared') continue;
      container.cancel();
      if (this.#dice.chance(0.5)) this.#run(container);
      else this.neverBegun += 1;
    }
  }

  /** Everything has ended without a word. */
  reboot(): void {
    this.#tell = undefined;
    for (const container of this.all.values()) {
      container.cancel();
      if (container.phase === 'running') this.#onEnded(container.start);
      if (container.phase === 'running') container.phase = 'lost';
    }
  }

  /** The supervisor of one of them is killed, and the command with it. */
  loseOne(): boolean {
    const [container] = this.running;
    if (container === undefined) return false;
    container.cancel();
    container.phase = 'lost';
    this.#onEnded(container.start);
    this.#tell?.({ kind: 'lost', containerId: container.start.containerId });
    return true;
  }

  #prepare(start: Start): void {
    const container: Container = { start, phase: 'prepared', end: undefined, cancel: () => {}, startedAtMs: 0 };
    this.all.set(start.containerId, container);
    // A busy machine lets a launcher wait.
    const delayMs = this.#dice.chance(0.1) ? this.#dice.between(2, 500) : this.#dice.between(0.2, 2);
    container.cancel = this.#engine.after(delayMs, undefined, () => this.#run(container));
    const { onNextPrepared } = this;
    this.onNextPrepared = undefined;
    if (onNextPrepared !== undefined) this.#engine.after(0, undefined, onNextPrepared);
  }

  #run(container: Container): void {
    const { start } = container;
    container.phase = 'running';
    container.startedAtMs = this.#engine.wallMs;
    this.#onStarted(start);
    this.#sayStarted(container);
    if (start.executor !== undefined) return; // it ends when it wants
    const [, runMs, code] = /^run (\d+) (\d+)$/.exec(start.command.value ?? '') ?? [];
    container.cancel = this.#engine.after(Number(runMs ?? 0), undefined, () =>
      this.#exit(container, Number(code ?? 1) << 8, false),
    );
  }

  /** An executor ends itself. */
  exit(containerId: string, status: number): void {
    const container = this.all.get(containerId);
    if (container !== undefined) this.#exit(container, status, false);
  }

  #exit(container: Container, status: number, stopped: boolean): void {
    if (container.phase !== 'running') return;
    container.cancel();
    const { containerId } = container.start;
    container.phase = 'ended';
    container.end = { kind: 'exited', containerId, status, stopped, exitedAtMs: this.#engine.wallMs };
    this.#onEnded(container.start);
    this.#tell?.(container.end);
  }

  #control(containerId: string, control: Control): void {
    const container = this.all.get(containerId);
    if (container?.phase !== 'running') return;
    if (control.kind === 'report') this.#sayStarted(container);
    else if (control.kind === 'term' || control.kind === 'kill') {
      const delayMs = control.kind === 'kill' || this.#dice.chance(0.7) ? 1 : control.graceMs;
      const status = delayMs === 1 && control.kind === 'term' ? 15 : 9;
      this.#engine.after(delayMs, undefined, () => this.#exit(container, status, true));
    }
  }

  #sayStarted({ start: { containerId } }: Container): void {
    this.#tell?.({ kind: 'started', containerId, commandPid: 2, supervisorPid: 1 });
  }

  #probe(containerId: string): void {
    const container = this.all.get(containerId);
    if (container?.phase === 'ended' && container.end !== undefined) this.#tell?.(container.end);
    else if (container === undefined || container.phase === 'lost') this.#tell?.({ kind: 'lost', containerId });
  }

  #find(containerId: string): FoundContainer {
    const { phase, end, startedAtMs } = this.all.get(containerId) as Container;
    return { containerId, supervised: phase === 'running', begun: phase !== 'prepared', end, startedAtMs };
  }
}
