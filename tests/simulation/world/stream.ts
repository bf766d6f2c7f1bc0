import type { AppendOutcome, LogStore, Tailer, TailOptions } from '@mesobus/registry';
import type { Dice } from '../engine/dice.ts';
import type { Engine, SimulatedProcess } from '../engine/engine.ts';
import type { Line } from './network.ts';

/** A write that was applied. */
export interface Written {
  readonly sequence: number;
  readonly key: string;
  readonly bytes: Uint8Array;
}

/** What came of writes that a client could not know, and of readers. */
export interface StreamTally {
  unknownWritten: number;
  unknownAbsent: number;
  refused: number;
  staleLoads: number;
  tailRestarts: number;
  snapshots: number;
  purges: number;
}

const appendTimeoutMs = 1_000;
const answerTimeoutMs = 5_000;
const silenceMs = 1_600;

/**
 * One JetStream stream under a key-value bucket, with its semantics as they were measured: one order of all writes, of each
 * key the last one kept, compare-and-set by the last sequence or by a key's revision. Writes stall while the stream has no
 * leader, and are then dropped or applied late; answers get lost; a reader may begin on a replica that lags.
 */
export class Stream {
  readonly name: string;
  readonly tally: StreamTally = {
    unknownWritten: 0,
    unknownAbsent: 0,
    refused: 0,
    staleLoads: 0,
    tailRestarts: 0,
    snapshots: 0,
    purges: 0,
  };
  /** Without a leader until then. */
  stalledUntil = 0;
  /** Of the answers to writes so much is lost. */
  answerLoss = 0;
  /** How far a reader that begins may be behind, in messages. */
  lagOfReaders = 0;
  lastSequence = 0;
  /** Of the last entry of the log: what the history has. */
  lastEntrySequence = 0;
  readonly #engine: Engine;
  readonly #dice: Dice;
  readonly #onWritten: (written: Written) => void;
  /** By sequence; a key that was written again leaves a hole. */
  readonly #messages: (Written | undefined)[] = [];
  readonly #revisions = new Map<string, number>();
  readonly #tails = new Set<Tail>();
  #lastApplied = 0;

  constructor(name: string, engine: Engine, dice: Dice, onWritten: (written: Written) => void) {
    this.name = name;
    this.#engine = engine;
    this.#dice = dice;
    this.#onWritten = onWritten;
  }

  /** The stream as a process sees it over its line. */
  client(process: SimulatedProcess, line: Line): LogStore {
    return {
      name: this.name,
      // Without an expectation the server writes whatever comes.
      append: (key, bytes, expected) =>
        this.#write(process, line, key, bytes, () => Number.isNaN(expected) || this.lastSequence === expected),
      update: (key, bytes, expected) =>
        this.#write(process, line, key, bytes, () => (this.#revisions.get(key) ?? 0) === expected),
      readAt: (sequence) => this.#readAt(process, line, sequence),
      tail: (options) => new Tail(this, process, line, options),
      closed: () => new Promise(() => {}),
    };
  }

  get engine(): Engine {
    return this.#engine;
  }

  get dice(): Dice {
    return this.#dice;
  }

  /** Of what the stream holds, those with a sequence from `from` on, oldest first. */
  *from(from: number): Iterable<Written> {
    for (let sequence = Math.max(from, 1); sequence <= this.lastSequence; sequence += 1) {
      const written = this.#messages[sequence];
      if (written !== undefined) yield written;
    }
  }

  attach(tail: Tail): void {
    this.#tails.add(tail);
  }

  detach(tail: Tail): void {
    this.#tails.delete(tail);
  }

  tripMs(): number {
    return this.#dice.between(0.1, 0.6);
  }

  #write(
    process: SimulatedProcess,
    line: Line,
    key: string,
    bytes: Uint8Array,
    isExpected: () => boolean,
  ): Promise<AppendOutcome> {
    const { promise, resolve } = Promise.withResolvers<AppendOutcome>();
    let applied: AppendOutcome | undefined;
    let answered = false;
    const cancelTimeout = this.#engine.after(appendTimeoutMs, process, () => {
      answered = true;
      if (applied?.kind === 'appended') this.tally.unknownWritten += 1;
      else this.tally.unknownAbsent += 1;
      resolve({ kind: 'unknown', why: `no answer within ${appendTimeoutMs} ms` });
    });
    const answer = (outcome: AppendOutcome): void => {
      applied = outcome;
      const lost = line.inCut || line.down || this.#dice.chance(Math.max(this.answerLoss, line.loss));
      if (lost) return;
      this.#engine.after(this.tripMs() + line.extraDelayMs, process, () => {
        if (answered || line.inCut || line.down) return;
        cancelTimeout();
        resolve(outcome);
      });
    };
    this.#whenHeard(line, () => answer(this.#apply(key, bytes, isExpected)));
    return promise;
  }

  /** Has a request reach the stream, if it does; one that meets no leader is dropped, or waits for the next one. */
  #whenHeard(line: Line, call: () => void): void {
    if (line.outCut || line.down || (line.loss > 0 && this.#dice.chance(line.loss))) return;
    const arrivesAt = this.#engine.now + this.tripMs() + line.extraDelayMs;
    if (arrivesAt < this.stalledUntil && this.#dice.chance(0.5)) return;
    // One after the other: what one client sends is applied in the order of sending.
    this.#lastApplied = Math.max(arrivesAt, this.stalledUntil, this.#lastApplied);
    this.#engine.after(this.#lastApplied - this.#engine.now, undefined, call);
  }

  #apply(key: string, bytes: Uint8Array, isExpected: () => boolean): AppendOutcome {
    if (!isExpected()) {
      this.tally.refused += 1;
      return { kind: 'refused' };
    }
    this.lastSequence += 1;
    const written = { sequence: this.lastSequence, key, bytes };
    const before = this.#revisions.get(key);
    if (before !== undefined) this.#messages[before] = undefined;
    this.#messages[this.lastSequence] = written;
    this.#revisions.set(key, this.lastSequence);
    if (key.startsWith('log.')) this.lastEntrySequence = this.lastSequence;
    this.#engine.note(bytes);
    this.#onWritten(written);
    for (const tail of this.#tails) tail.wake();
    return { kind: 'appended', sequence: this.lastSequence };
  }

  #readAt(process: SimulatedProcess, line: Line, sequence: number): ReturnType<LogStore['readAt']> {
    return this.ask(process, line, () => {
      const message = this.#messages[sequence];
      const found = message === undefined ? undefined : { key: message.key, bytes: message.bytes };
      return { found, lastSequence: this.lastSequence };
    });
  }

  /** Asks the servers something, which may change something too. Rejects if no answer comes. */
  ask<T>(process: SimulatedProcess, line: Line, answer: () => T): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const cancel = this.#engine.after(answerTimeoutMs, process, () => reject(new Error('TIMEOUT')));
    this.#whenHeard(line, () => {
      const value = answer();
      if (this.#dice.chance(Math.max(this.answerLoss, line.loss))) return;
      this.#engine.after(this.tripMs() + line.extraDelayMs, process, () => {
        if (line.inCut || line.down) return;
        cancel();
        resolve(value);
      });
    });
    return promise;
  }

  /** Removes the entries below a sequence, and nothing else. */
  purgeEntries(below: number): void {
    for (const { sequence, key } of this.from(0)) {
      if (sequence >= below) break;
      if (!key.startsWith('log.')) continue;
      this.#messages[sequence] = undefined;
      this.#revisions.delete(key);
      this.tally.purges += 1;
    }
  }
}

/** A supervised consumer: in order, without gap or repetition, begun anew when nothing is heard. */
class Tail implements Tailer {
  readonly #stream: Stream;
  readonly #process: SimulatedProcess;
  readonly #line: Line;
  readonly #options: TailOptions;
  #last: number;
  /** A load that began on a lagging replica sees only so far, until the replica has caught up. */
  #visibleTo = 0;
  #caughtUpAt: number | undefined;
  #pumping = false;
  #attached = false;
  #stopped = false;

  constructor(stream: Stream, process: SimulatedProcess, line: Line, options: TailOptions) {
    this.#stream = stream;
    this.#process = process;
    this.#line = line;
    this.#options = options;
    this.#last = options.from - 1;
    process.onEnd(() => this.stop());
    this.#begin();
  }

  stop(): void {
    this.#stopped = true;
    this.#stream.detach(this);
  }

  /** Something was written. */
  wake(): void {
    if (this.#pumping || this.#stopped || !this.#attached) return;
    this.#pumping = true;
    const { engine, dice } = this.#stream;
    const lagMs = this.#line.extraDelayMs + this.#line.tailDelayMs;
    const delayMs = this.#stream.tripMs() + lagMs + (dice.chance(0.01) ? dice.between(0, 50) : 0);
    engine.after(delayMs, this.#process, () => {
      this.#pumping = false;
      this.#pump();
    });
  }

  #begin(): void {
    const { engine, dice, lagOfReaders } = this.#stream;
    engine.after(this.#stream.tripMs(), this.#process, () => {
      if (this.#stopped) return;
      if (this.#isCut() || engine.now < this.#stream.stalledUntil) {
        this.#restart('the consumer cannot be made');
        return;
      }
      const lag = lagOfReaders > 0 ? dice.below(lagOfReaders) : 0;
      if (lag > 0) this.#stream.tally.staleLoads += 1;
      this.#visibleTo = this.#stream.lastSequence - lag;
      this.#caughtUpAt = this.#visibleTo;
      if (lag > 0) engine.after(dice.between(10, 2_000), this.#process, () => this.#seeAll());
      else this.#visibleTo = Number.POSITIVE_INFINITY;
      this.#attached = true;
      this.#stream.attach(this);
      this.#pump();
    });
  }

  #seeAll(): void {
    this.#visibleTo = Number.POSITIVE_INFINITY;
    this.wake();
  }

  #pump(): void {
    if (this.#stopped || !this.#attached) return;
    if (this.#isCut()) {
      this.#restart(`nothing heard for ${silenceMs} ms`);
      return;
    }
    for (const { sequence, key, bytes } of this.#stream.from(this.#last + 1)) {
      if (sequence > this.#visibleTo || this.#stopped) break;
      this.#sayIfCaughtUp(sequence - 1);
      this.#last = sequence;
      this.#options.onMessage({ key, sequence, bytes });
    }
    if (!this.#stopped) this.#sayIfCaughtUp(Math.min(this.#visibleTo, this.#stream.lastSequence));
  }

  #sayIfCaughtUp(upTo: number): void {
    if (this.#caughtUpAt === undefined || upTo < this.#caughtUpAt) return;
    this.#caughtUpAt = undefined;
    this.#options.onCaughtUp();
  }

  #isCut(): boolean {
    return this.#line.inCut || this.#line.outCut || this.#line.down;
  }

  #restart(why: string): void {
    this.#attached = false;
    this.#stream.detach(this);
    this.#stream.engine.after(silenceMs, this.#process, () => {
      if (this.#stopped) return;
      this.#stream.tally.tailRestarts += 1;
      this.#options.onRestart?.(why);
      this.#begin();
    });
  }
}
