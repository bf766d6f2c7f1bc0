import { type BusLogger, EnvelopeBus } from '@mesobus/sdk/bus';
import type { SimulatedProcess } from '../engine/engine.ts';
import { Line, type SimulatedTransport } from './network.ts';
import type { World } from './world.ts';

/** A supervisor starts again what has ended. */
const restartMs = { low: 300, high: 1_500 };

/** A machine with one program on it, which may die and be started again. */
export abstract class Host {
  readonly name: string;
  readonly world: World;
  /** Its way to the NATS servers. */
  line: Line = new Line();
  process: SimulatedProcess | undefined;
  bus: EnvelopeBus | undefined;
  /** It stays down when its program ends. */
  retired = false;
  readonly #wallOffsetMs: number;
  #transport: SimulatedTransport | undefined;
  #starts = 0;
  #cancelRestart: () => void = () => {};

  constructor(world: World, name: string) {
    this.world = world;
    this.name = name;
    this.#wallOffsetMs = Math.round(world.dice.fork(`clock of ${name}`).between(-500, 500));
  }

  get running(): boolean {
    return this.process !== undefined && !this.process.ended;
  }

  /** What is said in the program's log, for the story. */
  readonly log: BusLogger & { debug(fields: object, message: string): void } = {
    debug: () => {},
    info: (fields, message) => this.world.tell(this.name, message, fields),
    warn: (fields, message) => this.world.tell(this.name, message, fields),
    error: (fields, message) => this.world.tell(this.name, message, fields),
  };

  start(): void {
    if (this.running || this.retired) return;
    this.#cancelRestart();
    this.#starts += 1;
    const name = `${this.name}#${this.#starts}`;
    const process = this.world.engine.spawn(name, this.world.dice.fork(name), this.#wallOffsetMs);
    this.#transport = this.world.network.connect(process, this.line);
    const bus = this.world.observe(this, new EnvelopeBus(this.#transport, { clock: process.clock, logger: this.log }));
    this.process = process;
    this.bus = bus;
    process.begin(() => this.main(process, bus));
  }

  /** As kill -9. A supervisor starts it again after a while, unless told otherwise. */
  crash(downMs?: number): void {
    this.end();
    this.startLater(downMs);
  }

  /** The program ends by itself. */
  exit(process: SimulatedProcess, why: string): void {
    if (process !== this.process || process.ended) return;
    this.world.tell(this.name, 'exits', { why });
    this.crash();
  }

  /** It dies and is never started again. */
  retire(): void {
    this.retired = true;
    this.#cancelRestart();
    this.end();
  }

  end(): void {
    this.process?.end();
    this.onEnded();
  }

  startLater(downMs?: number): void {
    this.#cancelRestart();
    const delayMs = downMs ?? this.world.dice.between(restartMs.low, restartMs.high);
    this.#cancelRestart = this.world.engine.after(delayMs, undefined, () => this.start());
  }

  /** Its connection is gone, or back: both sides know. */
  setConnected(connected: boolean): void {
    this.line.down = !connected;
    this.#transport?.setConnected(connected);
  }

  /** The program begins. */
  protected abstract main(process: SimulatedProcess, bus: EnvelopeBus): void;

  /** What is left behind when the program has ended. */
  protected onEnded(): void {}
}
