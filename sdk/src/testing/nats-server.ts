import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { resolveNatsServer } from '../service/nats-server-binary.ts';

export interface TestNatsServerOptions {
  /** A text is more lines for its part of the configuration file. */
  readonly jetstream?: boolean | string;
  /** Largest message, in bytes; the server's own default, 1 MiB, unless given. */
  readonly maxPayload?: number;
  /** Clients must give this token. */
  readonly token?: string;
  /** Where JetStream keeps its files: kept at stop. A temporary folder that stop removes unless given. */
  readonly storeDir?: string;
  /** A free one unless given. */
  readonly port?: number;
  /** More lines for the server's configuration file. */
  readonly config?: string;
}

/** A nats-server of one test, on loopback. */
export interface TestNatsServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Of the process that runs now, or ran last. */
  readonly pid: number;
  /** Resolves when the process has ended. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same port and files, after stopping it if it still runs. Resolves when it takes clients. */
  restart(): Promise<void>;
  /** Ends it and removes its temporary files. */
  stop(): Promise<void>;
}

const startTimeoutMs = 30_000;
const pollMs = 20;

/**
 * Starts a nats-server and waits until it takes clients.
 *
 * @throws {Error} there is no nats-server, or it ended or was not ready in time; the message has the end of its log
 */
export async function startNatsServer(options: TestNatsServerOptions = {}): Promise<TestNatsServer> {
  const { path } = await resolveNatsServer();
  const folder = await mkdtemp(join(tmpdir(), 'mesobus-nats-'));
  const server = new Server(path, folder, options);
  try {
    await server.start();
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}

class Server implements TestNatsServer {
  readonly #path: string;
  readonly #folder: string;
  readonly #options: TestNatsServerOptions;
  #port: number;
  #process: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();

  constructor(path: string, folder: string, options: TestNatsServerOptions) {
    this.#path = path;
    this.#folder = folder;
    this.#options = options;
    this.#port = options.port ?? 0;
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.#port}`;
  }

  get pid(): number {
    return this.#process?.pid as number;
  }

  async start(): Promise<void> {
    const ports = join(this.#folder, 'ports');
    await rm(ports, { recursive: true, force: true }); // what a killed server left behind
    await mkdir(ports);
    const config = join(this.#folder, 'server.conf');
    await writeFile(config, this.#config(ports));
    await this.#spawn(config);
    const deadline = performance.now() + startTimeoutMs;
    while (!(await this.#isReady(ports))) {
      if (this.#hasEnded()) throw new Error(`The nats-server ended at once: ${await this.#logEnd()}`);
      if (performance.now() > deadline) throw new Error(`The nats-server is not ready: ${await this.#logEnd()}`);
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (!this.#hasEnded()) this.#process?.kill(signal);
    await this.#ended;
  }

  async restart(): Promise<void> {
    await this.kill('SIGTERM');
    await this.start();
  }

  async stop(): Promise<void> {
    await this.kill('SIGKILL');
    await rm(this.#folder, { recursive: true, force: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #config(ports: string): string {
    const { jetstream, maxPayload, token, storeDir, config } = this.#options;
    const lines = [
      `listen: "127.0.0.1:${this.#port === 0 ? -1 : this.#port}"`,
      `ports_file_dir: ${JSON.stringify(ports)}`,
      `log_file: ${JSON.stringify(this.#logFile)}`,
    ];
    if (jetstream) {
      const store = `store_dir: ${JSON.stringify(storeDir ?? join(this.#folder, 'store'))}`;
      lines.push('jetstream {', store, typeof jetstream === 'string' ? jetstream : '', '}');
    }
    if (maxPayload !== undefined) lines.push(`max_payload: ${maxPayload}`);
    if (token !== undefined) lines.push(`authorization { token: ${JSON.stringify(token)} }`);
    if (config !== undefined) lines.push(config);
    return lines.join('\n');
  }

  get #logFile(): string {
    return join(this.#folder, 'server.log');
  }

  async #spawn(config: string): Promise<void> {
    const output = await open(join(this.#folder, 'output.log'), 'a');
    const child = spawn(this.#path, ['--config', config], { stdio: ['ignore', output.fd, output.fd] });
    const guard = child.pid === undefined ? undefined : startGuard(child.pid, this.#folder);
    this.#process = child;
    this.#ended = new Promise((resolve) => {
      const end = () => {
        guard?.kill('SIGKILL');
        resolve();
      };
      child.once('exit', end);
      child.once('error', end);
    });
    await output.close();
  }

  #hasEnded(): boolean {
    const child = this.#process;
    return child === undefined || child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
  }

  async #isReady(ports: string): Promise<boolean> {
    if (this.#port === 0) this.#port = await readPort(ports);
    return this.#port !== 0 && greets(this.#port);
  }

  async #logEnd(): Promise<string> {
    const logs = ['output.log', 'server.log'].map((name) => readFile(join(this.#folder, name), 'utf8').catch(() => ''));
    return (await Promise.all(logs)).join('').trimEnd().split('\n').slice(-10).join('\n');
  }
}

/**
 * Ends the server and removes its folder when this process ends in whatever way, also by a kill: only then does the
 * guard's standard input close.
 */
function startGuard(pid: number, folder: string): ChildProcess {
  const script = 'read -r _; kill -9 "$1"; rm -rf -- "$2"';
  const guard = spawn('/bin/sh', ['-c', script, 'sh', `${pid}`, folder], { stdio: ['pipe', 'ignore', 'ignore'] });
  guard.on('error', () => {}); // no shell: then nobody guards
  guard.unref();
  (guard.stdin as unknown as { unref(): void } | null)?.unref();
  return guard;
}

/** The port that the server has chosen; 0 while it has not said. */
async function readPort(ports: string): Promise<number> {
  const name = (await readdir(ports)).find((file) => file.endsWith('.ports'));
  if (name === undefined) return 0;
  try {
    const { nats } = JSON.parse(await readFile(join(ports, name), 'utf8')) as { nats: string[] };
    return Number(new URL(nats[0] as string).port);
  } catch {
    return 0; // half written
  }
}

/** Whether something on this port opens the conversation as a nats-server does. */
function greets(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    const end = (greeted: boolean) => {
      socket.destroy();
      resolve(greeted);
    };
    socket.once('data', (data) => end(data.toString().startsWith('INFO ')));
    socket.once('error', () => end(false));
    socket.once('close', () => end(false));
  });
}
