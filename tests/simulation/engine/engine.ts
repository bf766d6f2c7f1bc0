import { crc32 } from 'node:zlib';
import type { Clock } from '@mesobus/sdk/bus';
import type { Dice } from './dice.ts';
import { EventQueue, type QueuedEvent } from './event-queue.ts';

interface Event extends QueuedEvent {
  /** Whose it is; undefined: of the world outside all processes. */
  readonly process: SimulatedProcess | undefined;
  readonly isTimer: boolean;
  /** Undefined once it is cancelled. */
  call: (() => void) | undefined;
}

/** The real ones: the global ones stand in virtual time while an engine runs. */
const nextTurn = setImmediate;
/** So many steps are put on the real event loop at once: going round it costs more than a step. */
const stepsPerTurn = 64;
/** A run that takes more is broken. */
const maxSteps = 3_000_000;

/**
 * Moments stand on a grid of 1/64 ms, so that sums and differences of them are exact: a timer never rings before its time.
 */
const onGrid = (ms: number): number => Math.ceil(ms * 64) / 64;

/** The time of day at which every simulation begins: 2026-01-01. */
const epochMs = 1_767_225_600_000;

/**
 * Virtual time. One event happens at a time, and everything that its promises lead to, before the next; nothing waits for
 * anything real. So the same seed always gives the same run.
 */
export class Engine {
  now = 0;
  /** Whose event happens: its timers and promises belong to it too. */
  current: SimulatedProcess | undefined;
  /** Of everything that has happened, in order. */
  hash = 0;
  steps = 0;
  readonly #queue = new EventQueue<Event>();
  /** Due at this very moment. */
  #ready: Event[] = [];
  #readyAt = 0;
  #order = 0;
  #processes = 0;
  #stopped = false;

  /** Makes a process, which lives until {@link SimulatedProcess.end}. */
  spawn(name: string, dice: Dice, wallOffsetMs = 0): SimulatedProcess {
    this.#processes += 1;
    return new SimulatedProcess(this, name, this.#processes, dice, wallOffsetMs);
  }

  /** Has something happen later. Returns the call that cancels it. */
  after(delayMs: number, process: SimulatedProcess | undefined, call: () => void, isTimer = false): () => void {
    this.#order += 1;
    const event: Event = { at: onGrid(this.now + Math.max(0, delayMs)), order: this.#order, process, isTimer, call };
    if (event.at === this.now) this.#ready.push(event);
    else this.#queue.push(event);
    return () => {
      event.call = undefined;
    };
  }

  /** The time of day as the world has it, ms since 1970. */
  get wallMs(): number {
    return epochMs + this.now;
  }

  /** Adds to the hash of the run. */
  note(bytes: Uint8Array): void {
    this.hash = crc32(bytes, this.hash);
  }

  /** Ends {@link run} after the event that happens now. */
  stop(): void {
    this.#stopped = true;
  }

  /** Lets time pass until then, or until {@link stop}. Rejects with what an event throws. */
  run(untilMs: number): Promise<void> {
    this.#stopped = false;
    return new Promise((resolve, reject) => {
      let left = 0;
      const step = (): void => {
        try {
          left -= 1;
          if (!this.#stopped && !this.#step(untilMs)) this.#stopped = true;
        } catch (error) {
          this.#stopped = true;
          reject(error as Error);
        }
        if (left > 0) return;
        if (!this.#stopped) turn();
        else nextTurn(end); // the promises of the last event are still its process' own
      };
      const end = (): void => {
        this.current = undefined;
        resolve();
      };
      const turn = (): void => {
        left = stepsPerTurn;
        for (let count = 0; count < stepsPerTurn; count += 1) nextTurn(step);
      };
      turn();
    });
  }

  /** @returns whether anything is left to happen until then */
  #step(untilMs: number): boolean {
    const event = this.#next(untilMs);
    if (event === undefined) {
      this.now = Math.max(this.now, untilMs);
      return false;
    }
    const { process } = event;
    const call = event.call as () => void;
    event.call = undefined;
    if (process?.paused) {
      process.hold(call, event.isTimer);
      return true;
    }
    this.steps += 1;
    if (this.steps > maxSteps) throw new Error(`more than ${maxSteps} steps: something goes round in circles`);
    this.hash = (Math.imul(this.hash ^ (process?.number ?? 0), 0x01000193) ^ (this.now * 64)) >>> 0;
    this.current = process;
    call();
    return true;
  }

  /** What happens next; what was cancelled, or was to happen in a process that has ended, does not. */
  #next(untilMs: number): Event | undefined {
    for (;;) {
      const event = this.#take(untilMs);
      if (event === undefined || (event.call !== undefined && !event.process?.ended)) return event;
    }
  }

  #take(untilMs: number): Event | undefined {
    if (this.#readyAt < this.#ready.length) {
      const event = this.#ready[this.#readyAt] as Event;
      this.#readyAt += 1;
      if (this.#readyAt === this.#ready.length) {
        this.#ready = [];
        this.#readyAt = 0;
      }
      return event;
    }
    const { earliest } = this.#queue;
    if (earliest === undefined || earliest.at > untilMs) return undefined;
    this.#queue.pop();
    this.now = earliest.at;
    return earliest;
  }
}

/** What the operating system sees as one process: it can be killed, stopped and continued. */
export class SimulatedProcess {
  readonly name: string;
  readonly number: number;
  readonly dice: Dice;
  readonly clock: Clock;
  readonly engine: Engine;
  ended = false;
  paused = false;
  readonly #wallOffsetMs: number;
  #resumedAt = Number.NEGATIVE_INFINITY;
  #held: (() => void)[] = [];
  #heldTimers: (() => void)[] = [];
  readonly #onEnd: (() => void)[] = [];

  constructor(engine: Engine, name: string, number: number, dice: Dice, wallOffsetMs: number) {
    this.engine = engine;
    this.name = name;
    this.number = number;
    this.dice = dice;
    this.#wallOffsetMs = wallOffsetMs;
    // As with the timers of Node, the shortest wait is 1 ms.
    this.clock = {
      now: () => engine.now,
      after: (delayMs, call) => engine.after(Math.max(1, delayMs), this, call, true),
    };
  }

  /** The time of day by the clock of its machine, which need not be right. */
  readonly wallMs = (): number => this.engine.wallMs + this.#wallOffsetMs;

  /** Begins to run: the first thing that happens in it. */
  begin(main: () => void): void {
    this.engine.after(0, this, main);
  }

  onEnd(call: () => void): void {
    this.#onEnd.push(call);
  }

  /** Nothing of it happens any more. */
  end(): void {
    if (this.ended) return;
    this.ended = true;
    this.#held = [];
    this.#heldTimers = [];
    for (const call of this.#onEnd) call();
  }

  /** As SIGSTOP: what should happen waits. */
  pause(): void {
    this.paused = true;
  }

  /** Whether it has not stood still within the last so many ms. */
  resumedFor(ms: number): boolean {
    return !this.paused && this.engine.now - this.#resumedAt >= ms;
  }

  /** It goes on where it waits for what comes in: what has come is handled first, then timers ring. */
  resume(): void {
    this.paused = false;
    this.#resumedAt = this.engine.now;
    for (const call of [...this.#held.splice(0), ...this.#heldTimers.splice(0)]) this.engine.after(0, this, call);
  }

  hold(call: () => void, isTimer: boolean): void {
    (isTimer ? this.#heldTimers : this.#held).push(call);
  }
}
