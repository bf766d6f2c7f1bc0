import type { Readable, Writable } from 'node:stream';
import type { mesos } from '@mesobus/protos';
import type { ContainerEvent, Control, FoundContainer, ContainerUsage as MeasuredUsage } from '../core/index.ts';
import type { User } from './users.ts';

/**
 * Runs containers of one kind. What comes of them comes as events, and every method may be asked again. Containers live
 * on when the agent ends, and the next process finds them.
 */
export interface Containerizer {
  /** Sets the one handler. Events before that wait. */
  onEvent(handler: (event: ContainerizerEvent) => void): void;
  /** Starts a container, once: a second start with the same id fails. Throws, or says 'failed', with why. */
  start(spec: ContainerSpec): void;
  /** Nothing happens if the container is not there, or not any more. */
  control(containerId: string, control: Control): void;
  /** It has more or less from now on. */
  resize(containerId: string, limits: Limits): void;
  /** Says how those ended that run no more, and nothing of the others. */
  probe(containerIds: readonly string[]): void;
  /** What earlier processes left: of those that were prepared for it, and of others that it knows as its own. */
  find(prepared: readonly string[]): Promise<FoundContainer[]>;
  /** Forgets a container that has ended, with what it wrote into its control folder's place elsewhere. */
  remove(containerId: string): Promise<void>;
  /** Of those that run; what cannot be measured is left out. */
  usage(containerIds: readonly string[]): Promise<ContainerUsage[]>;
  /** Runs a command in a running container, for as long as this process and the container live. */
  run(containerId: string, command: InnerCommand): InnerProcess;
  /**
   * Where what listens in a container with a network of its own is reached; undefined: it has that of the machine.
   *
   * @throws {Error} it cannot be said now, or nobody reaches it
   */
  addressOf?(containerId: string): Promise<string | undefined>;
  /** The terminal of a container that was given one; undefined for any other. */
  terminal?(containerId: string): Terminal | undefined;
  /** Containers live on. No event comes any more. */
  close(): Promise<void>;
}

export type ContainerizerEvent =
  | ContainerEvent
  /** What ran it was gone and is back: of its containers, whatever was not heard of may have happened. */
  | { readonly kind: 'restarted' }
  /** What runs it is gone for good: the agent cannot go on. */
  | { readonly kind: 'broken'; readonly reason: string };

/** The containerizers of an agent by the kind of container. */
export interface Containerizers {
  readonly process: Containerizer;
  readonly docker?: Containerizer;
}

/** A container that is prepared: its folders exist, and what it needs is in its sandbox. */
export interface ContainerSpec {
  /** 1 to 64 visible ASCII characters without '@'. */
  readonly containerId: string;
  /** An existing directory of the agent's own, for whatever the containerizer keeps. Absolute. */
  readonly controlDir: string;
  /** The command's working directory. Absolute. */
  readonly sandboxDir: string;
  /** Appended to, created if missing. With `user` they become the user's. */
  readonly stdoutPath: string;
  readonly stderrPath: string;
  readonly argv: readonly [string, ...string[]];
  /** What to execute, looked up in the PATH of `env` unless it has a '/'. By default `argv[0]`. */
  readonly file?: string;
  /** The complete environment: nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  /** Whom to become; needs root. By default the command runs as the agent does. */
  readonly user?: User;
  readonly volumes: readonly Mount[];
  readonly limits: Limits;
  /** What the task says about its container. */
  readonly container?: mesos.v1.ContainerInfo.$Properties;
  /** What the task says about its command: an image may have one of its own. */
  readonly command?: mesos.v1.CommandInfo.$Properties;
  /** Of a task of a group: what the tasks of it share. It has no process of its own. */
  readonly parent?: { readonly containerId: string; readonly sandboxDir: string };
}

/** A folder or file of the host that a container sees. */
export interface Mount {
  /** Absolute. */
  readonly hostPath: string;
  /** Absolute, or below the sandbox. */
  readonly containerPath: string;
  readonly readOnly: boolean;
}

/** What a container may use. */
export interface Limits {
  /** Its share when there is not enough for all. */
  readonly cpus: number;
  /** What it never gets more than, if that is to be held; Infinity: all there is. */
  readonly hardCpus?: number;
  /** What it asked for. */
  readonly memBytes: number;
  /** What it is ended for if it takes more; Infinity: all there is. */
  readonly hardMemBytes: number;
  /** Processes and threads. */
  readonly pids?: number;
}

/** What a container uses, and what more can be said of it; counted from its start where it adds up. */
export interface ContainerUsage extends MeasuredUsage {
  readonly memoryPeakBytes?: number;
  /** Time in which it had wanted more cpu than its hard limit. */
  readonly throttledSeconds?: number;
  readonly processes?: number;
  readonly diskBytes?: number;
  readonly ioReadBytes?: number;
  readonly ioWriteBytes?: number;
}

/** A command in a running container. */
export interface InnerCommand {
  readonly argv: readonly [string, ...string[]];
  /** By default `argv[0]`. */
  readonly file?: string;
  /** The complete environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Where the container has it. Docker takes the sandbox by default. */
  readonly cwd?: string;
  /** Needs root. By default the agent's own, and Docker's choice in a container of Docker. */
  readonly user?: User;
  /** Give it a terminal of this size; then its errors come with its output. */
  readonly tty?: TerminalSize;
}

export interface TerminalSize {
  readonly rows: number;
  readonly columns: number;
}

/** Where somebody types who is attached to a container. */
export interface Terminal {
  /** Resolves when it has taken all of it. It may wait for as long as nothing reads there, or until it is told off. */
  type(bytes: Uint8Array, signal: AbortSignal): Promise<void>;
  resize(size: TerminalSize): void;
}

export interface InnerProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly ended: Promise<InnerEnd>;
  /** To it and what it has started. */
  kill(signal: NodeJS.Signals): void;
  /** Nothing happens without a terminal. */
  resize(size: TerminalSize): void;
}

/** `status` is the raw wait status. */
export type InnerEnd =
  | { readonly kind: 'exited'; readonly status: number }
  /** With `unasked` nobody was there to run it: that says nothing of the container. */
  | { readonly kind: 'failed'; readonly message: string; readonly unasked?: boolean };
