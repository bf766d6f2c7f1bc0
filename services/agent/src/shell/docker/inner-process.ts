import { type Duplex, PassThrough } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type Docker from 'dockerode';
import type { InnerCommand, InnerEnd, InnerProcess, TerminalSize } from '../containerizer.ts';
import { roomIn } from '../room-in.ts';
import { messageOf, statusOf } from './daemon.ts';
import { framesOf, oneFrame } from './frames.ts';

/** Has Docker run a command in a container. Its processes are the agent's to signal only where Docker runs beside it. */
export function runInside(container: Docker.Container, command: InnerCommand): InnerProcess {
  return new DockerInnerProcess(container, command);
}

class DockerInnerProcess implements InnerProcess {
  readonly stdin = new PassThrough();
  readonly stdout = new PassThrough();
  readonly stderr = new PassThrough();
  readonly ended: Promise<InnerEnd>;
  #exec: Docker.Exec | undefined;
  #size: TerminalSize | undefined;
  #signal: NodeJS.Signals | undefined;
  #stream: Duplex | undefined;

  constructor(container: Docker.Container, command: InnerCommand) {
    this.#size = command.tty;
    this.ended = this.#run(container, command).catch((error) => {
      const unasked = statusOf(error) === undefined; // Docker is away
      return { kind: 'failed', message: messageOf(error), unasked };
    });
  }

  kill(signal: NodeJS.Signals): void {
    this.#signal = signal;
    void this.#sendSignal();
  }

  resize(size: TerminalSize): void {
    this.#size = size;
    void this.#resize();
  }

  async #run(container: Docker.Container, command: InnerCommand): Promise<InnerEnd> {
    const { argv, file = argv[0], env, cwd, user, tty } = command;
    this.#exec = await container.exec({
      Cmd: [file, ...argv.slice(1)],
      Env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
      AttachStdin: true,
      AttachStdout: true,
      AttachStderr: true,
      Tty: tty !== undefined,
      ...(cwd && { WorkingDir: cwd }),
      ...(user && { User: `${user.uid}:${user.gid}` }),
    });
    const stream = await this.#exec.start({ hijack: true, stdin: true, Tty: tty !== undefined });
    this.#stream = stream;
    pipeline(this.stdin, stream).catch(() => {}); // it need not read
    if (tty !== undefined) await this.#resize();
    await this.#sendSignal();
    await this.#copy(tty !== undefined ? oneFrame(stream) : framesOf(stream));
    const { ExitCode: code } = await this.#exec.inspect();
    return { kind: 'exited', status: (code ?? 0) << 8 };
  }

  async #copy(frames: ReturnType<typeof framesOf>): Promise<void> {
    try {
      for await (const { name, bytes } of frames) {
        const output = this[name];
        if (!output.write(bytes) && !output.destroyed) await roomIn(output);
      }
    } finally {
      this.stdout.end();
      this.stderr.end();
    }
  }

  async #resize(): Promise<void> {
    if (this.#size === undefined) return;
    // It may have ended just now.
    await this.#exec?.resize({ h: this.#size.rows, w: this.#size.columns }).catch(() => {});
  }

  /** Docker has no word for it: the command is a group of processes of the host. */
  async #sendSignal(): Promise<void> {
    const signal = this.#signal;
    if (signal === undefined || this.#exec === undefined || this.#stream === undefined) return;
    try {
      const { Running: running, Pid: pid } = await this.#exec.inspect();
      if (running && pid > 0) process.kill(-pid, signal);
    } catch {
      // it has ended, or runs elsewhere
    }
    if (signal === 'SIGKILL') this.#stream.end();
  }
}
