import type { Bus } from './bus.ts';
import { type Clock, systemClock } from './clock.ts';
import { EnvelopeBus } from './envelope-bus.ts';
import { type BusLogger, silentLogger } from './logger.ts';
import { encodeToken } from './token.ts';
import type { Frame, Transport, TransportListener } from './transport.ts';

export interface MemoryNetworkOptions {
  /** Largest frame, in bytes; 512 KiB unless given: half of what a NATS server takes. */
  readonly maxFrameBytes?: number;
  /** No message may be larger as a whole, in bytes; 64 MiB unless given. */
  readonly maxMessageBytes?: number;
  readonly clock?: Clock;
  readonly logger?: BusLogger;
}

/** A frame on its way from one bus to another. */
export interface MemoryFrame {
  readonly subject: string;
  /** Where an answer goes; empty if nobody waits for one. */
  readonly reply: string;
  readonly bytes: Uint8Array;
  /** Undefined for what was injected. */
  readonly from: Bus | undefined;
  readonly to: Bus;
}

/** Buses in one process, without a server. Everything is encoded and decoded, so nothing is shared. */
export interface MemoryNetwork {
  /** @param name - for errors and ids; need not be unique */
  connect(name: string): Bus;
  /** Cuts a bus off: its subscriptions take nothing, what is on its way to it is lost. */
  disconnect(bus: Bus): void;
  /** Ends {@link disconnect}: its subscriptions stand again. */
  reconnect(bus: Bus): void;
  /** Loses each frame for which the filter is true, per receiver. Returns the call that ends it. */
  drop(filter: (frame: MemoryFrame) => boolean): () => void;
  /** Sends bytes that no bus has made, to see what becomes of them. */
  inject(subject: string, bytes: Uint8Array, reply?: string): void;
  /** Resolves when no frame is under way and nothing that arrived has sent another without waiting for time to pass. */
  settle(): Promise<void>;
}

export function createMemoryNetwork(options: MemoryNetworkOptions = {}): MemoryNetwork {
  return new Network(options);
}

interface Interest {
  readonly owner: MemoryTransport;
  readonly pattern: string;
  readonly queue: string | undefined;
  readonly onFrame: (frame: Frame) => void;
}

class Network implements MemoryNetwork {
  readonly maxFrameBytes: number;
  readonly #options: MemoryNetworkOptions;
  readonly #transports = new Map<Bus, MemoryTransport>();
  readonly #interests = new Set<Interest>();
  readonly #filters = new Set<(frame: MemoryFrame) => boolean>();
  /** How many a queue group has taken, so that its members take turns. */
  readonly #turns = new Map<string, number>();
  #underWay: (() => void)[] = [];
  #scheduled = false;
  #connects = 0;

  constructor(options: MemoryNetworkOptions) {
    this.#options = options;
    this.maxFrameBytes = options.maxFrameBytes ?? 512 * 1024;
  }

  connect(name: string): Bus {
    this.#connects += 1;
    const { clock = systemClock, logger = silentLogger, maxMessageBytes } = this.#options;
    const transport = new MemoryTransport(this, `${encodeToken(name)}-${this.#connects}`);
    const limits = maxMessageBytes === undefined ? {} : { maxMessageBytes };
    const bus = new EnvelopeBus(transport, { clock, logger, ...limits });
    transport.bus = bus;
    this.#transports.set(bus, transport);
    return bus;
  }

  disconnect(bus: Bus): void {
    this.#transports.get(bus)?.setConnected(false);
  }

  reconnect(bus: Bus): void {
    this.#transports.get(bus)?.setConnected(true);
  }

  drop(filter: (frame: MemoryFrame) => boolean): () => void {
    const own = (frame: MemoryFrame) => filter(frame); // the same function may be given twice
    this.#filters.add(own);
    return () => this.#filters.delete(own);
  }

  inject(subject: string, bytes: Uint8Array, reply = ''): void {
    this.send(undefined, { subject, bytes: bytes.slice(), reply, traceparent: '', noResponders: false });
  }

  async settle(): Promise<void> {
    do await this.turn();
    while (this.#underWay.length > 0);
  }

  /** Resolves when what is under way now has been delivered and what it resolved has run. */
  turn(): Promise<void> {
    return new Promise((resolve) => setImmediate(resolve));
  }

  forget(transport: MemoryTransport): void {
    for (const interest of this.#interests) if (interest.owner === transport) this.#interests.delete(interest);
    this.#transports.delete(transport.bus);
  }

  listen(interest: Interest): () => void {
    this.#interests.add(interest);
    return () => this.#interests.delete(interest);
  }

  send(from: MemoryTransport | undefined, frame: Frame): void {
    const receivers = this.#receiversOf(frame.subject);
    for (const receiver of receivers) {
      const { bus: to } = receiver.owner;
      const passing = { subject: frame.subject, reply: frame.reply, bytes: frame.bytes, from: from?.bus, to };
      if ([...this.#filters].some((lose) => lose(passing))) continue;
      this.#deliver(receiver, frame);
    }
    if (receivers.length === 0 && frame.reply !== '') this.#sayNobodyServes(frame.reply);
  }

  #sayNobodyServes(inbox: string): void {
    const frame = { subject: inbox, reply: '', bytes: new Uint8Array(), traceparent: '', noResponders: true };
    for (const receiver of this.#receiversOf(inbox)) this.#deliver(receiver, frame);
  }

  /** All that listen by themselves, and one of each queue group. */
  #receiversOf(subject: string): Interest[] {
    const receivers: Interest[] = [];
    const groups = new Map<string, Interest[]>();
    for (const interest of this.#interests) {
      if (!interest.owner.connected || !matches(interest.pattern, subject)) continue;
      if (interest.queue === undefined) receivers.push(interest);
      else groups.set(interest.queue, [...(groups.get(interest.queue) ?? []), interest]);
    }
    for (const [queue, members] of groups) {
      const turn = this.#turns.get(queue) ?? 0;
      this.#turns.set(queue, turn + 1);
      receivers.push(members[turn % members.length] as Interest);
    }
    return receivers;
  }

  #deliver(receiver: Interest, frame: Frame): void {
    const { connections } = receiver.owner;
    this.#underWay.push(() => {
      const same = receiver.owner.connected && receiver.owner.connections === connections;
      if (same && this.#interests.has(receiver)) receiver.onFrame(frame);
    });
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#deliverAll());
  }

  /** In the order of sending. What is sent meanwhile waits for the next turn. */
  #deliverAll(): void {
    const deliveries = this.#underWay;
    this.#underWay = [];
    this.#scheduled = false;
    for (const deliver of deliveries) deliver();
  }
}

class MemoryTransport implements Transport {
  readonly id: string;
  readonly inboxPrefix: string;
  readonly #network: Network;
  #listener: TransportListener | undefined;
  #bus: Bus | undefined;
  connected = true;
  /** Counts the reconnects: what was sent over an earlier connection is lost. */
  connections = 0;

  constructor(network: Network, id: string) {
    this.#network = network;
    this.id = id;
    this.inboxPrefix = `_INBOX.${id}`;
  }

  get bus(): Bus {
    return this.#bus as Bus;
  }

  set bus(bus: Bus) {
    this.#bus = bus;
  }

  get maxFrameBytes(): number {
    return this.#network.maxFrameBytes;
  }

  start(listener: TransportListener): void {
    this.#listener = listener;
  }

  setConnected(connected: boolean): void {
    if (this.connected === connected) return;
    this.connected = connected;
    if (connected) this.connections += 1;
    this.#listener?.onConnection(connected);
  }

  send(subject: string, bytes: Uint8Array, reply: string, traceparent: string): void {
    this.#network.send(this, { subject, bytes, reply, traceparent, noResponders: false });
  }

  listen(pattern: string, queue: string | undefined, onFrame: (frame: Frame) => void): () => void {
    return this.#network.listen({ owner: this, pattern, queue, onFrame });
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  async close(): Promise<void> {
    await this.#network.turn();
    this.connected = false;
    this.#network.forget(this);
  }
}

/** Whether a subject falls under a pattern: `*` stands for one token, `>` for one or more at the end. */
function matches(pattern: string, subject: string): boolean {
  if (pattern === subject) return true;
  if (!pattern.includes('*') && !pattern.includes('>')) return false;
  const wanted = pattern.split('.');
  const tokens = subject.split('.');
  for (const [index, want] of wanted.entries()) {
    if (want === '>') return tokens.length > index;
    if (index >= tokens.length || (want !== '*' && want !== tokens[index])) return false;
  }
  return wanted.length === tokens.length;
}
