import { randomUUID } from 'node:crypto';
import { constants } from 'node:os';
import type { mesobus } from '@mesobus/protos';
import type { Channel } from '../bus/index.ts';
import { ask } from './asking.ts';
import type { Connection } from './connection.ts';

export interface TerminalSize {
  readonly rows: number;
  readonly columns: number;
}

/** A command that is to run in the container of a task. */
export interface ExecOptions {
  /** The first is looked up in the PATH of the task. */
  readonly command: readonly [string, ...string[]];
  /** Beside the environment of the task. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Gives it a terminal of this size; its errors come with its output then. */
  readonly terminal?: TerminalSize;
  /** It can be written to; otherwise its input is empty. */
  readonly interactive?: boolean;
}

export interface AttachOptions {
  /** What is written to the session is typed on the terminal of the task, which must have one. */
  readonly interactive?: boolean;
}

export interface SessionOutput {
  readonly stream: 'stdout' | 'stderr';
  readonly data: Uint8Array;
}

/** How a session came to its end. */
export type SessionEnd =
  | { readonly kind: 'exited'; readonly exitCode: number }
  | { readonly kind: 'signalled'; readonly signal: string; readonly number: number }
  /** The command never ran, or nobody can tell how it ended. */
  | { readonly kind: 'failed'; readonly message: string };

type SessionChannel = Channel<typeof mesobus.v1.SessionRequest, typeof mesobus.v1.SessionReply>;
type Request = Omit<mesobus.v1.SessionRequest.$Properties, 'sessionId'>;

/** An agent ends what it has not heard of for 15 s. */
const keepMs = 4_000;
/** Below that: whoever finds nobody knows that it is over. */
const patienceMs = 12_000;
const waitMs = 5_000;
const maxInputBytes = 65_536;

/**
 * A command in a container, or what a task writes and reads. It is over, and its command too, when it is closed, and when
 * agent or asker lose sight of each other. What is not read here waits there, and the command with it.
 */
export class ContainerSession implements AsyncDisposable {
  readonly #connection: Connection;
  readonly #channel: SessionChannel;
  readonly #id = randomUUID();
  readonly #keeping: NodeJS.Timeout;
  #askedAt = performance.now();
  #inputNumber = 0;
  /** Pieces of input go one after the other, whoever gives them. */
  #writing: Promise<void> = Promise.resolve();
  #closed = false;

  private constructor(connection: Connection, channel: SessionChannel) {
    this.#connection = connection;
    this.#channel = channel;
    this.#keeping = setInterval(() => this.#keep(), keepMs / 2);
  }

  /**
   * @throws {RefusedError} not_running, call_invalid, overloaded
   * @throws {NoRespondersError} the agent is away
   */
  static async open(connection: Connection, channel: SessionChannel, start: Request): Promise<ContainerSession> {
    const session = new ContainerSession(connection, channel);
    try {
      await session.#ask(start);
      return session;
    } catch (error) {
      session.#stop();
      throw error;
    }
  }

  /**
   * Gives what is written, as it comes and as fast as it is taken, and returns how the session ended. Once.
   *
   * @throws {RefusedError} session_unknown: the agent was started again, or has not heard of us for too long
   * @throws {NoRespondersError} the agent is away
   */
  async *output(): AsyncGenerator<SessionOutput, SessionEnd> {
    for (let received = 0; ; ) {
      const { output } = await this.#ask({ read: { received, waitMs } });
      if (!output || output.number <= received) continue;
      received = output.number;
      if (output.stdout.length > 0) yield { stream: 'stdout', data: output.stdout };
      if (output.stderr.length > 0) yield { stream: 'stderr', data: output.stderr };
      if (output.end) return endOf(output.end);
    }
  }

  /** Resolves when it is on its way to the command, which may be late in reading it. */
  write(data: Uint8Array): Promise<void> {
    return this.#inOrder(async () => {
      for (let at = 0; at < data.length; at += maxInputBytes) {
        await this.#give(data.subarray(at, at + maxInputBytes), false);
      }
    });
  }

  /** Nothing more is written. A terminal does not know of such an end: type an end of transmission. */
  endInput(): Promise<void> {
    return this.#inOrder(() => this.#give(new Uint8Array(), true));
  }

  async resize({ rows, columns }: TerminalSize): Promise<void> {
    await this.#ask({ resize: { rows, columns } });
  }

  /** Ends the command, if it still runs. An agent that cannot be told finds out by itself. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#stop();
    const { bus } = this.#connection;
    await bus.request(this.#channel, { sessionId: this.#id, close: {} }, { timeoutMs: 1_000 }).catch(() => {});
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #inOrder(work: () => Promise<void>): Promise<void> {
    const done = this.#writing.then(work);
    this.#writing = done.catch(() => {});
    return done;
  }

  async #give(data: Uint8Array, end: boolean): Promise<void> {
    this.#inputNumber += 1;
    const number = this.#inputNumber;
    for (let taken = 0; taken < number && !this.#closed; ) {
      const { input } = await this.#ask({ write: { number, data, end } });
      taken = input?.number ?? 0;
    }
  }

  #ask(request: Request): Promise<mesobus.v1.SessionReply> {
    this.#askedAt = performance.now();
    return ask(this.#connection.bus, this.#channel, { sessionId: this.#id, ...request }, patienceMs);
  }

  /** While nobody takes the output, nobody asks for more. */
  #keep(): void {
    if (performance.now() - this.#askedAt >= keepMs) this.#ask({ keep: {} }).catch(() => {}); // the next to ask will see
  }

  #stop(): void {
    this.#closed = true;
    clearInterval(this.#keeping);
  }
}

function endOf({ status, failure }: mesobus.v1.SessionEnd): SessionEnd {
  if (failure !== '') return { kind: 'failed', message: failure };
  const number = status & 0x7f;
  if (number === 0) return { kind: 'exited', exitCode: (status >> 8) & 0xff };
  const [signal = `SIG${number}`] = Object.entries(constants.signals).find(([, one]) => one === number) ?? [];
  return { kind: 'signalled', signal, number };
}
