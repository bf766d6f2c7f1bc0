import type { Frame, Transport, TransportListener } from '@mesobus/sdk/bus';
import type { Dice } from '../engine/dice.ts';
import type { Engine, SimulatedProcess } from '../engine/engine.ts';

/** What is wrong with the way between a host and the NATS servers. */
export class Line {
  /** Nothing comes through, and neither side has noticed yet. */
  inCut = false;
  outCut = false;
  /** The connection is gone, and both sides know. */
  down = false;
  /** Of what goes either way, so much is lost, comes twice, or comes late. */
  loss = 0;
  duplication = 0;
  extraDelayMs = 0;
  /** What is read of the log comes so much later: its consumer stands on a replica that lags. */
  tailDelayMs = 0;
}

interface Interest {
  readonly transport: SimulatedTransport;
  readonly onFrame: (frame: Frame) => void;
  readonly queue: string | undefined;
}

/** Counts of what the network did. */
export interface NetworkTally {
  delivered: number;
  lost: number;
  duplicated: number;
  foundNobody: number;
}

const usualDelayMs = 0.25;
const slowDelayMs = 2;

/**
 * Core NATS between processes: at most once, in order per sender, queue groups, 'no responders' at once. Subjects are
 * exact or end with `*`, which is all that Mesobus listens to.
 */
export class Network {
  readonly tally: NetworkTally = { delivered: 0, lost: 0, duplicated: 0, foundNobody: 0 };
  readonly #engine: Engine;
  readonly #dice: Dice;
  /** By subject; of those that end with `.*`, by what stands before. */
  readonly #exact = new Map<string, Set<Interest>>();
  readonly #wild = new Map<string, Set<Interest>>();
  #connections = 0;

  constructor(engine: Engine, dice: Dice) {
    this.#engine = engine;
    this.#dice = dice;
  }

  connect(process: SimulatedProcess, line: Line): SimulatedTransport {
    this.#connections += 1;
    const transport = new SimulatedTransport(this, process, line, `c${this.#connections}`);
    process.onEnd(() => this.forget(transport));
    return transport;
  }

  listen(interest: Interest, pattern: string): () => void {
    const wild = pattern.endsWith('.*');
    const map = wild ? this.#wild : this.#exact;
    const key = wild ? pattern.slice(0, -2) : pattern;
    if (key.includes('*') || key.includes('>')) throw new Error(`the simulated network does not know '${pattern}'`);
    const interests = map.get(key) ?? new Set();
    map.set(key, interests.add(interest));
    return () => {
      interests.delete(interest);
      if (interests.size === 0) map.delete(key);
    };
  }

  forget(transport: SimulatedTransport): void {
    for (const map of [this.#exact, this.#wild]) {
      for (const [key, interests] of map) {
        for (const interest of interests) if (interest.transport === transport) interests.delete(interest);
        if (interests.size === 0) map.delete(key);
      }
    }
  }

  send(from: SimulatedTransport, frame: Frame): void {
    const { line } = from;
    if (line.outCut || (line.loss > 0 && this.#dice.chance(line.loss))) {
      this.tally.lost += 1;
      return;
    }
    this.#engine.note(frame.bytes);
    const again = line.duplication > 0 && this.#dice.chance(line.duplication);
    for (let copies = again ? 2 : 1; copies > 0; copies -= 1) this.#route(from, frame);
    if (again) this.tally.duplicated += 1;
  }

  #route(from: SimulatedTransport, frame: Frame): void {
    const { subject, reply } = frame;
    const receivers = this.#receiversOf(subject);
    const arrivesAt = from.arrival(this.#delayMs() + from.line.extraDelayMs);
    for (const receiver of receivers) this.#deliver(from, receiver, frame, arrivesAt);
    if (receivers.length > 0 || reply === '') return;
    this.tally.foundNobody += 1;
    const nobody = { subject: reply, reply: '', bytes: new Uint8Array(), traceparent: '', noResponders: true };
    for (const receiver of this.#receiversOf(reply)) this.#deliver(from, receiver, nobody, arrivesAt);
  }

  #delayMs(): number {
    return this.#dice.chance(0.02) ? this.#dice.between(0, slowDelayMs) : this.#dice.between(0, usualDelayMs);
  }

  #deliver(from: SimulatedTransport, { transport, onFrame }: Interest, frame: Frame, arrivesAt: number): void {
    const { line, connections } = transport;
    if (line.inCut || (line.loss > 0 && this.#dice.chance(line.loss))) {
      this.tally.lost += 1;
      return;
    }
    const at = transport.arrivalFrom(from, arrivesAt + line.extraDelayMs);
    this.#engine.after(at - this.#engine.now, transport.process, () => {
      if (line.inCut || !transport.connected || transport.connections !== connections) return;
      this.tally.delivered += 1;
      onFrame(frame);
    });
  }

  /** All that listen by themselves, and one of each queue group. */
  #receiversOf(subject: string): Interest[] {
    const receivers: Interest[] = [];
    let groups: Map<string, Interest[]> | undefined;
    for (const interests of [this.#exact.get(subject), this.#wild.get(subject.slice(0, subject.lastIndexOf('.')))]) {
      if (interests === undefined) continue;
      for (const interest of interests) {
        if (!interest.transport.connected) continue;
        if (interest.queue === undefined) receivers.push(interest);
        else {
          groups ??= new Map();
          groups.set(interest.queue, [...(groups.get(interest.queue) ?? []), interest]);
        }
      }
    }
    if (groups !== undefined) for (const members of groups.values()) receivers.push(this.#dice.pick(members));
    return receivers;
  }
}

export class SimulatedTransport implements Transport {
  readonly maxFrameBytes: number = 512 * 1024;
  readonly id: string;
  readonly inboxPrefix: string;
  readonly process: SimulatedProcess;
  readonly line: Line;
  connected: boolean;
  /** Counts the reconnects: what was sent over an earlier connection is lost. */
  connections = 0;
  readonly #network: Network;
  #listener: TransportListener | undefined;
  #lastSent = 0;
  readonly #lastReceived = new Map<SimulatedTransport, number>();

  constructor(network: Network, process: SimulatedProcess, line: Line, id: string) {
    this.#network = network;
    this.process = process;
    this.line = line;
    this.id = id;
    this.inboxPrefix = `_INBOX.${id}`;
    this.connected = !line.down;
  }

  start(listener: TransportListener): void {
    this.#listener = listener;
  }

  send(subject: string, bytes: Uint8Array, reply: string, traceparent: string): void {
    if (this.connected) this.#network.send(this, { subject, bytes, reply, traceparent, noResponders: false });
  }

  listen(subject: string, queue: string | undefined, onFrame: (frame: Frame) => void): () => void {
    return this.#network.listen({ transport: this, onFrame, queue }, subject);
  }

  async flush(): Promise<void> {
    if (!this.connected) throw new Error('not connected');
  }

  async close(): Promise<void> {
    this.connected = false;
    this.#network.forget(this);
  }

  /** The connection has gone or come back. */
  setConnected(connected: boolean): void {
    if (this.connected === connected || this.process.ended) return;
    this.connected = connected;
    if (connected) this.connections += 1;
    this.process.begin(() => this.#listener?.onConnection(connected));
  }

  /** When what is sent now arrives at the server: not before what was sent earlier. */
  arrival(delayMs: number): number {
    this.#lastSent = Math.max(this.#lastSent, this.process.engine.now + delayMs);
    return this.#lastSent;
  }

  /** When what comes from another arrives here: not before what came from it earlier. */
  arrivalFrom(sender: SimulatedTransport, at: number): number {
    const arrival = Math.max(this.#lastReceived.get(sender) ?? 0, at);
    this.#lastReceived.set(sender, arrival);
    return arrival;
  }
}
