import { createHash } from 'node:crypto';
import { encode, mesobus } from '@mesobus/protos';
import {
  barrier,
  createLogReader,
  createLogWriter,
  type LogReader,
  type LogReaderEffect,
  type LogWriter,
  type LogWriterEffect,
  type LogWriterInput,
  leaderKey,
  readMessage,
  type SubmitResult,
  stepLogWriter,
  submit,
} from '../src/core/index.ts';

export const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

interface Stored {
  readonly key: string;
  readonly sequence: number;
  readonly bytes: Uint8Array;
}

/** A bucket that keeps one message per key, as JetStream does. */
export class SimulatedBucket {
  /** Everything that was ever written, as one who watched has seen it. */
  readonly seen: Stored[] = [];
  readonly #latest = new Map<string, Stored>();

  get lastSequence(): number {
    return this.seen.length;
  }

  /** What a cold start finds. */
  get left(): Stored[] {
    return this.seen.filter((stored) => this.#latest.get(stored.key) === stored);
  }

  /** @returns the sequence, or undefined if the expected one is not the last */
  append(key: string, bytes: Uint8Array, expected: number): number | undefined {
    return expected === this.lastSequence ? this.#put(key, bytes) : undefined;
  }

  update(key: string, bytes: Uint8Array, expectedRevision: number): number | undefined {
    return (this.#latest.get(key)?.sequence ?? 0) === expectedRevision ? this.#put(key, bytes) : undefined;
  }

  at(sequence: number): Stored | undefined {
    return this.left.find((stored) => stored.sequence === sequence);
  }

  #put(key: string, bytes: Uint8Array): number {
    const stored = { key, bytes, sequence: this.lastSequence + 1 };
    this.seen.push(stored);
    this.#latest.set(key, stored);
    return stored.sequence;
  }
}

export function readAll(messages: readonly Stored[]): { reader: LogReader; effects: LogReaderEffect[] } {
  const reader = createLogReader(sha256);
  return { reader, effects: messages.flatMap((message) => readMessage(reader, message)) };
}

/** What happens to a request on its way: both ways well, or lost on one of them, or told lost and written later. */
export type Fate = 'done' | 'request_lost' | 'answer_lost' | 'delayed';

/** A master that has won the log: the real writer on a network that loses and delays. */
export class SimulatedMaster {
  readonly name: string;
  readonly writer: LogWriter;
  /** Names of the records by position - 1; a barrier has none. */
  readonly submitted: (string | undefined)[] = [];
  committed = 0;
  readonly #bucket: SimulatedBucket;
  #waiting: LogWriterEffect[] = [];
  #delayed: (() => void)[] = [];
  #at = 0;

  /** Wins: writes its own record, reads up to it. */
  constructor(name: string, bucket: SimulatedBucket) {
    this.name = name;
    this.#bucket = bucket;
    const before = readAll(bucket.left).reader;
    const epoch = before.epoch + 1;
    const record = { clusterIncarnation: 1, epoch, masterId: name, leaseMs: 15_000 };
    bucket.update(leaderKey, encode(mesobus.v1.LeaderRecord, record), before.leader?.sequence ?? 0);
    const { reader } = readAll(bucket.left);
    if (reader.stopped !== undefined) throw new Error(reader.stopped);
    const { lastSequence, lastIndex, lastHash } = reader;
    const position = { lastSequence, lastIndex, lastHash, now: { at: 0, wallMs: 0 } };
    this.writer = createLogWriter({
      incarnation: 1,
      epoch,
      masterId: name,
      leaseMs: 15_000,
      hash: sha256,
      ...position,
    });
  }

  submit(count: number, urgent: boolean): void {
    const names = Array.from({ length: count }, (_, i) => `${this.name}/${this.submitted.length + i}`);
    const records = names.map((frameworkId) => encode(mesobus.v1.Record, { framework: { frameworkId } }));
    const result = submit(this.writer, this.#now(), records, { urgent });
    if ('position' in result) this.submitted.push(...names);
    this.step({ kind: 'tick' });
  }

  barrier(): SubmitResult {
    const result = barrier(this.writer, this.#now());
    if ('position' in result && result.position > this.submitted.length) this.submitted.push(undefined);
    this.step({ kind: 'tick' });
    return result;
  }

  wait(ms: number): void {
    this.#at += ms;
    this.step({ kind: 'tick' });
  }

  /** Lets the one request that is under way, if any, meet its fate. */
  settle(fate: Fate): void {
    const request = this.#waiting.shift();
    if (request?.kind === 'append') this.#settleAppend(request, fate);
    if (request?.kind === 'read') this.#settleRead(request.sequence, fate);
  }

  /** What was told lost arrives after all. */
  arrive(): void {
    for (const write of this.#delayed.splice(0)) write();
  }

  step(input: LogWriterInput): void {
    for (const effect of stepLogWriter(this.writer, this.#now(), input)) {
      if (effect.kind === 'committed') this.committed = effect.position;
      else if (effect.kind !== 'ended') this.#waiting.push(effect);
    }
  }

  get requestsUnderWay(): number {
    return this.#waiting.length;
  }

  #settleAppend({ key, bytes, expectedSequence }: Extract<LogWriterEffect, { kind: 'append' }>, fate: Fate): void {
    const write = (): number | undefined => this.#bucket.append(key, bytes, expectedSequence);
    if (fate === 'delayed') this.#delayed.push(write);
    const sequence = fate === 'done' || fate === 'answer_lost' ? write() : undefined;
    if (fate !== 'done') this.step({ kind: 'unknown', why: fate });
    else this.step(sequence === undefined ? { kind: 'refused' } : { kind: 'appended', sequence });
  }

  #settleRead(sequence: number, fate: Fate): void {
    if (fate !== 'done') this.step({ kind: 'read_failed', why: fate });
    else this.step({ kind: 'read', found: this.#bucket.at(sequence), lastSequence: this.#bucket.lastSequence });
  }

  #now(): { at: number; wallMs: number } {
    return { at: this.#at, wallMs: this.#at };
  }
}
