import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Dockerd } from '../../services/agent/test/docker/dockerd.ts';

const exec = promisify(execFile);
const folder = fileURLToPath(new URL('../../infra/compose', import.meta.url));
const maxOutputBytes = 1 << 26;
const lookAgainMs = 200;
const masters = ['master-1', 'master-2', 'master-3'];

/** What a test has to do with. */
export interface World {
  readonly dockerd: Dockerd;
  /** docker-compose, the program. */
  readonly compose: string;
  readonly say: (line: string) => void;
  readonly secondsSince: (at: number) => number;
  readonly signal: AbortSignal;
}

/** A cluster of infra/compose. */
export class Stack implements AsyncDisposable {
  /** Of all agents, with their sandboxes. */
  readonly agentsDir: string = mkdtempSync(join(tmpdir(), 'mesobus-compose-'));
  readonly dockerd: Dockerd;
  readonly #world: World;
  readonly #which: { readonly file: string; readonly project: string };

  constructor(world: World, which: { readonly file: string; readonly project: string }) {
    this.dockerd = world.dockerd;
    this.#world = world;
    this.#which = which;
  }

  /** Its containers and volumes are those of a daemon that ends with the test. */
  async [Symbol.asyncDispose](): Promise<void> {
    rmSync(this.agentsDir, { recursive: true, force: true });
  }

  /** Runs docker-compose to its end, and says what it wrote. */
  async compose(...args: string[]): Promise<string> {
    const { compose, signal } = this.#world;
    const options = { env: this.#env, signal, maxBuffer: maxOutputBytes };
    try {
      return (await exec(compose, this.#argsWith(args), options)).stdout;
    } catch (error) {
      const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
      const said = `${stdout}${stderr}`.trim().split('\n').slice(-20).join('\n') || (error as Error).message;
      const unwell = await this.unhealthy().catch(() => []);
      const message = [`docker-compose ${args.join(' ')} failed: ${said}`, ...unwell].join('\n');
      throw new Error(message, { cause: error });
    }
  }

  /** Starts docker-compose, and leaves it running. */
  start(...args: string[]): ChildProcess {
    const { compose, signal } = this.#world;
    return spawn(compose, this.#argsWith(args), { env: this.#env, signal, stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** What the `mesobus` command says, as JSON. */
  async ask<T>(...command: string[]): Promise<T> {
    return JSON.parse(await this.compose('run', '--rm', '-T', 'cli', ...command, '--json')) as T;
  }

  /** By the name of its service; the first, where there are several. */
  async containerOf(service: string): Promise<string> {
    const label = [`com.docker.compose.service=${service}`, 'com.docker.compose.container-number=1'];
    const [found] = await this.#containers(label);
    if (found === undefined) throw new Error(`there is no container of ${service}`);
    return found.Id;
  }

  /** The service that this is the id of. */
  async masterOf(masterId: string): Promise<string> {
    const instance = `master-${masterId.split('-')[0]}`; // a second leadership has an id of its own
    for (const service of masters) {
      const container = this.dockerd.docker.getContainer(await this.containerOf(service));
      if ((await container.logs({ stdout: true, stderr: true })).includes(instance)) return service;
    }
    throw new Error(`no master has the id '${masterId}'`);
  }

  async kill(id: string): Promise<void> {
    await this.dockerd.docker.getContainer(id).kill();
  }

  /** Ends its process from outside. */
  async crash(id: string): Promise<void> {
    const { State } = await this.dockerd.docker.getContainer(id).inspect();
    if (State.Pid === 0) throw new Error(`the container ${id} does not run`);
    process.kill(State.Pid, 'SIGKILL');
  }

  /** Waits until Docker has started it again, and it says that it is well. */
  async healthyAgain(id: string): Promise<void> {
    for (;;) {
      const { RestartCount, State } = await this.dockerd.docker.getContainer(id).inspect();
      if (RestartCount > 0 && State.Health?.Status === 'healthy') return;
      await wait(lookAgainMs, undefined, { signal: this.#world.signal });
    }
  }

  /** Containers that do not run or do not say that they are well, with what they said last. */
  async unhealthy(): Promise<string[]> {
    const complaints: string[] = [];
    for (const { Id } of await this.#containers()) {
      const container = this.dockerd.docker.getContainer(Id);
      const { Name, State, Config } = await container.inspect();
      const once = Config.Labels['com.docker.compose.service'] === 'auth' && State.ExitCode === 0 && !State.Running;
      if (once || State.Health?.Status === 'healthy') continue;
      const lines = (await container.logs({ stdout: true, stderr: true, tail: 20 })).toString().split('\n');
      const said =
        lines.findLast((line) => /"level":"(fatal|error)"|"msg":"stopping"/.test(line)) ?? lines.at(-2) ?? '';
      complaints.push(`${Name} is ${State.Status}, ${State.Health?.Status}: ${said.slice(0, 600)}`);
    }
    return complaints;
  }

  /** What is there when nothing should be: also containers of tasks. */
  async leftOver(): Promise<string[]> {
    const { docker } = this.dockerd;
    const containers = await docker.listContainers({ all: true });
    const { Volumes: volumes } = await docker.listVolumes();
    const networks = (await docker.listNetworks()).filter(({ Name }) => !['bridge', 'host', 'none'].includes(Name));
    return [
      ...containers.map(({ Names }) => `container ${Names[0]} is left`),
      ...(volumes ?? []).map(({ Name }) => `volume ${Name} is left`),
      ...networks.map(({ Name }) => `network ${Name} is left`),
    ];
  }

  #containers(label: readonly string[] = []) {
    const own = [`com.docker.compose.project=${this.#which.project}`, 'com.docker.compose.oneoff=False'];
    return this.dockerd.docker.listContainers({ all: true, filters: { label: [...own, ...label] } });
  }

  #argsWith(args: readonly string[]): string[] {
    return ['-p', this.#which.project, '-f', join(folder, this.#which.file), ...args];
  }

  get #env(): NodeJS.ProcessEnv {
    const { socketPath } = this.dockerd;
    return {
      PATH: process.env['PATH'],
      HOME: this.agentsDir, // settings and credentials of a user are nobody's here
      DOCKER_HOST: `unix://${socketPath}`,
      MESOBUS_BASE: 'base',
      MESOBUS_PACKAGE: 'given',
      MESOBUS_DOCKER_SOCKET: socketPath,
      MESOBUS_AGENTS_DIR: this.agentsDir,
      MESOBUS_AGENTS: '4',
    };
  }
}
