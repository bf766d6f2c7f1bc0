import type { Readable } from 'node:stream';
import type { mesobus } from '@mesobus/protos';
import type { Clock } from '@mesobus/sdk/bus';
import { RefusedError } from '@mesobus/sdk/errors';
import type { InnerEnd, InnerProcess } from '../containerizer.ts';
import { roomIn } from '../room-in.ts';
import type { Entered } from './sessions.ts';

type Piece = mesobus.v1.OutputPiece.$Properties;

/** Of each stream in one piece, and of input at a time. */
const maxPieceBytes = 65_536;
const maxWaitMs = 10_000;

/**
 * A process whose streams are asked for. What nobody asks for it cannot go on writing, and what it does not read is not
 * taken: memory holds one piece each way, and what the pipes hold.
 */
export class Session {
  /** By the clock of the agent. */
  heardAt: number;
  /** Throws if whoever asked may be there no more. */
  readonly check: () => void;
  readonly #process: InnerProcess;
  readonly #interactive: boolean;
  readonly #clock: Clock;
  readonly #open = new Set<Readable>();
  #ended: InnerEnd | undefined;
  /** Given out last; it may have been lost. */
  #piece: Piece & { readonly number: number } = { number: 0 };
  #reads = 0;
  #wake: (() => void) | undefined;
  #inputNumber = 0;
  /** Resolves when the process has read enough for more. */
  #drained: Promise<void> | undefined;

  constructor({ process, interactive, check }: Entered, clock: Clock) {
    this.check = check;
    this.#process = process;
    this.#interactive = interactive;
    this.#clock = clock;
    this.heardAt = clock.now();
    for (const stream of [process.stdout, process.stderr]) this.#follow(stream);
    process.stdin.on('error', () => {}); // it need not read: its end says what became of it
    if (!interactive) process.stdin.end();
    void process.ended.then((end) => {
      this.#ended = end;
      this.#wake?.();
    });
  }

  /** Gives the next piece, or the last one again if that was not received; an empty one if there is none in time. */
  async read(received: number, waitMs: number): Promise<Piece> {
    this.#reads += 1;
    const read = this.#reads;
    this.#wake?.(); // whoever waited has asked again
    if (received < this.#piece.number) return this.#piece;
    const next = this.#next();
    if (next !== undefined) return next;
    await this.#somethingNew(Math.min(waitMs, maxWaitMs));
    return (read === this.#reads ? this.#next() : undefined) ?? { number: 0 };
  }

  /** Gives the number of the last input that was taken, which is not this one if the process does not read. */
  async write({ number, data, end }: mesobus.v1.WriteInput): Promise<number> {
    if (!this.#interactive) throw new RefusedError('call_invalid', 'write', 'the session was started without an input');
    if (data.length > maxPieceBytes) throw new RefusedError('call_invalid', 'write', `it has ${data.length} bytes`);
    if (number > this.#inputNumber + 1) {
      throw new RefusedError('call_invalid', 'write', `number ${this.#inputNumber + 1} is missing`);
    }
    if (number <= this.#inputNumber) return this.#inputNumber;
    if (this.#drained !== undefined) await this.#waitFor(this.#drained, maxWaitMs / 2);
    if (this.#drained === undefined && number === this.#inputNumber + 1) this.#take(data, end);
    return this.#inputNumber;
  }

  resize({ rows, columns }: mesobus.v1.WindowSize): void {
    this.#process.resize({ rows, columns });
  }

  end(): void {
    this.#process.kill('SIGKILL');
    for (const stream of this.#open) stream.destroy();
    this.#process.stdin.destroy();
    this.#wake?.();
  }

  #follow(stream: Readable): void {
    this.#open.add(stream);
    const over = (): void => {
      this.#open.delete(stream);
      this.#wake?.();
    };
    stream.on('readable', () => this.#wake?.());
    stream.on('error', over).on('end', over).on('close', over);
  }

  #next(): Piece | undefined {
    const { stdout, stderr } = this.#process;
    const [out, errors] = [take(stdout), take(stderr)];
    const end = this.#open.size === 0 ? this.#ended : undefined;
    if (out === undefined && errors === undefined && end === undefined) return undefined;
    this.#piece = {
      number: this.#piece.number + 1,
      ...(out && { stdout: out }),
      ...(errors && { stderr: errors }),
      ...(end && { end: end.kind === 'exited' ? { status: end.status } : { failure: end.message } }),
    };
    return this.#piece;
  }

  #somethingNew(waitMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const cancel = this.#clock.after(waitMs, resolve);
    this.#wake = resolve;
    return promise.finally(cancel);
  }

  #take(data: Uint8Array, end: boolean): void {
    const { stdin } = this.#process;
    this.#inputNumber += 1;
    const canTakeMore = data.length === 0 || stdin.write(data);
    if (end) stdin.end();
    if (canTakeMore || stdin.destroyed) return;
    this.#drained = roomIn(stdin).then(() => {
      this.#drained = undefined;
    });
  }

  #waitFor(something: Promise<void>, waitMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const cancel = this.#clock.after(waitMs, resolve);
    void something.then(resolve);
    return promise.finally(cancel);
  }
}

/** What is there now. Asking for nothing has a stream notice its end. */
function take(stream: Readable): Uint8Array | undefined {
  const length = Math.min(stream.readableLength, maxPieceBytes);
  const data: Uint8Array | null = length > 0 ? stream.read(length) : stream.read();
  return data ?? undefined;
}
