import { decode, mesobus } from '@mesobus/protos';
import { logOn } from '@mesobus/registry';
import {
  type Bus,
  createMemoryNetwork,
  ManualClock,
  type MemoryNetwork,
  silentLogger,
  subjectsOf,
} from '@mesobus/sdk/bus';
import { defaultConfig } from '../src/core/index.ts';
import { type Contender, contend } from '../src/shell/contend.ts';
import { masterInfo } from './harness.ts';
import { SimulatedBucket, SimulatedStore } from './simulated-store.ts';

export const subjects = subjectsOf('test');

/** One master's process: its own clock, connection and way to the log. */
export interface MasterProcess {
  readonly name: string;
  readonly bus: Bus;
  readonly contender: Contender;
  readonly failures: unknown[];
  readonly clock: ManualClock;
  readonly store: SimulatedStore;
  state: 'runs' | 'hangs' | 'dead';
}

/** What a master has sent. */
export interface Sent {
  readonly from: string;
  readonly epoch: number;
  readonly subject: string;
  readonly envelope: mesobus.v1.Envelope;
}

/** Masters on one log and one network, all simulated; time passes when told to. */
export class Masters {
  readonly clock: ManualClock = new ManualClock();
  readonly network: MemoryNetwork = createMemoryNetwork({ clock: this.clock });
  readonly bucket: SimulatedBucket = new SimulatedBucket();
  readonly processes: MasterProcess[] = [];
  readonly sent: Sent[] = [];
  /** How far the clocks on the wall are set forward. */
  wallOffMs = 0;

  constructor() {
    this.network.drop(({ from, to, subject, bytes }) => {
      const sender = this.processes.find(({ bus }) => bus === from);
      if (sender !== undefined) {
        const envelope = decode(mesobus.v1.Envelope, bytes);
        this.sent.push({ from: sender.name, epoch: envelope.epoch, subject, envelope });
      }
      return this.processes.find(({ bus }) => bus === to)?.state === 'hangs';
    });
  }

  start(name: string, { logAway = false, region = '' } = {}): MasterProcess {
    const clock = new ManualClock();
    clock.advance(this.clock.now());
    const bus = this.network.connect(name);
    const store = new SimulatedStore(this.bucket);
    if (logAway) store.away();
    const wallMs = () => 1_000_000_000 + this.clock.now() + this.wallOffMs;
    const tools = { store, log: silentLogger, clock, wallMs, random: () => 0.5 };
    const failures: unknown[] = [];
    const domain = region !== '' && { domain: { faultDomain: { region: { name: region }, zone: { name: 'z' } } } };
    const contender = contend({
      log: logOn(tools),
      bus,
      subjects,
      clock,
      wallMs,
      logger: silentLogger,
      masterId: name,
      config: { ...defaultConfig, masterInfo: { ...masterInfo, ...domain } },
      onFailed: (error) => failures.push(error),
    });
    const started: MasterProcess = { name, bus, contender, failures, clock, store, state: 'runs' };
    this.processes.push(started);
    return started;
  }

  /** kill -9: its connection closes, so that nobody serves its subjects any more. */
  kill(master: MasterProcess): void {
    master.state = 'dead';
    master.store.end();
    this.network.disconnect(master.bus);
  }

  /** SIGSTOP: it keeps its subscriptions. */
  hang(master: MasterProcess): void {
    master.state = 'hangs';
    master.store.away();
  }

  /** SIGCONT: its clock has gone on, unless the whole machine slept. What it waited for comes after its timers. */
  resume(master: MasterProcess, { clock }: { clock: 'went on' | 'stood still' } = { clock: 'went on' }): void {
    master.state = 'runs';
    if (clock === 'went on') master.clock.advance(this.clock.now() - master.clock.now());
    master.store.back();
  }

  /** Lets time pass for all that run, in small steps, until something is so. */
  async until(isSo: () => boolean, atMostMs = 60_000): Promise<void> {
    for (let passed = 0; !isSo(); passed += 20) {
      if (passed > atMostMs) throw new Error(`this was not so within ${atMostMs} ms: ${isSo}`);
      await this.pass(20);
    }
  }

  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 20) {
      this.clock.advance(20);
      for (const { clock, state } of this.processes) {
        if (state === 'runs') clock.advance(20);
      }
      for (let turns = 0; turns < 4; turns += 1) await this.network.settle();
    }
  }

  /** Of those that run. */
  get leader(): MasterProcess | undefined {
    return this.processes.find(({ state, contender }) => state === 'runs' && contender.leadership !== undefined);
  }

  async untilLed(): Promise<MasterProcess> {
    await this.until(() => this.leader !== undefined);
    return this.leader as MasterProcess;
  }

  async stop(): Promise<void> {
    const running = this.processes.filter(({ state }) => state === 'runs');
    const stopped = Promise.all(running.map(({ contender }) => contender.stop()));
    await this.pass(200);
    await stopped;
  }
}
