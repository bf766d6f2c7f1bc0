import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, watch } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Acls } from '@mesobus/sdk/authorization';
import { type Bus, createMemoryNetwork, subjectsOf } from '@mesobus/sdk/bus';
import type { ExecutionContext } from 'ava';
import type { SandboxCare } from '../../src/sandbox-options.ts';
import type { Fetcher } from '../../src/shell/fetcher/fetcher.ts';
import {
  control,
  findExit,
  hasBegun,
  isSupervised,
  type Launcher,
  startLauncher,
} from '../../src/shell/process/launcher.ts';
import { ProcessContainerizer } from '../../src/shell/process/process-containerizer.ts';
import { type Agent, startAgent } from '../../src/shell/run.ts';
import type { Secrets } from '../../src/shell/secrets.ts';
import { openWorkDir, type WorkDir } from '../../src/shell/work-dir.ts';
import { FakeLeader } from './fake-leader.ts';
import { removeOwner } from './groups.ts';

const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/** A folder that tasks of other users reach; it goes with the test, and with it everything that runs in it. */
export function tempWorkDir(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'mesobus-agent-'));
  chmodSync(folder, 0o755);
  t.teardown(async () => {
    const containers = join(folder, 'meta/containers');
    let names: string[] = [];
    try {
      names = readdirSync(containers);
    } catch {
      // the agent never came so far
    }
    for (const name of names) control(join(containers, name), { kind: 'kill' });
    while (names.some((name) => isSupervised(join(containers, name))))
      await new Promise((wake) => setTimeout(wake, 20));
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    removeOwner(folder);
  });
  return folder;
}

/** An agent in this process with real containers, and its leader, on a bus in memory. */
export class Bench {
  readonly workDir: WorkDir;
  readonly leader: FakeLeader;
  readonly operator: Bus;
  readonly subjects = subjectsOf('main');
  readonly stops: { readonly reason: string; readonly exitCode: number }[] = [];
  readonly #stopped = Promise.withResolvers<void>();
  /** Resolves when the agent asks for the end of the process; nobody hears of it on the bus. */
  readonly stopped: Promise<void> = this.#stopped.promise;
  launcher: Launcher | undefined;
  fetcher: Fetcher | undefined;
  sandboxCare: SandboxCare | undefined;
  secrets: Secrets | undefined;
  switchUser = true;
  /** Who may look into what. */
  acls: Acls | undefined;
  #agent: Agent | undefined;
  readonly #bus: Bus;
  #starts = 0;

  constructor(t: ExecutionContext, folder = tempWorkDir(t)) {
    this.workDir = openWorkDir(folder);
    const network = createMemoryNetwork();
    this.leader = new FakeLeader(network.connect('leader'), this.subjects, 'a');
    this.#bus = network.connect('agent');
    this.operator = network.connect('operator');
    t.teardown(() => this.stop());
  }

  async start(): Promise<Agent> {
    this.#starts += 1;
    this.launcher = await startLauncher({ runDir: this.workDir.run });
    const supervision = { launcher: this.launcher, findExit, isSupervised, hasBegun, control };
    this.#agent = await startAgent({
      facts: {
        ...{ agentName: 'a', version: '1', incarnation: `i${this.#starts}`, bootId: 'b', info: { hostname: 'a' } },
        executors: { reregistrationTimeoutMs: 30_000 }, // others may work on this machine too
      },
      bus: this.#bus,
      subjects: this.subjects,
      workDir: this.workDir,
      containerizers: { process: new ProcessContainerizer({ supervision, containersDir: this.workDir.containers }) },
      switchUser: this.switchUser,
      ...(this.fetcher && { fetcher: this.fetcher }),
      ...(this.sandboxCare && { sandboxCare: this.sandboxCare }),
      secrets: this.secrets,
      acls: this.acls && this.#aclsNow(),
      log: silent,
      onStop: (reason, exitCode) => {
        this.stops.push({ reason, exitCode });
        this.#stopped.resolve();
      },
    });
    const wanted = this.#starts;
    await this.leader.until(() => this.leader.registrations.length >= wanted);
    return this.#agent;
  }

  /** As of a file that may change. */
  #aclsNow(): { readonly value: Acls } {
    const now = (): Acls => this.acls as Acls;
    return {
      get value() {
        return now();
      },
    };
  }

  async stop(): Promise<void> {
    const agent = this.#agent;
    this.#agent = undefined;
    await agent?.close();
  }

  /** Of a task's only run. */
  sandbox(taskId: string): string {
    const folder = join(this.workDir.sandboxes, 'F', taskId);
    return join(folder, readdirSync(folder)[0] ?? '');
  }

  read(taskId: string, name: string): string {
    return readFileSync(join(this.sandbox(taskId), name), 'utf8');
  }
}

/** Waits until something is so; it is looked at whenever a file in the folder changes. */
export async function untilIn(folder: string, isSo: () => boolean): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const look = (): void => {
    if (isSo()) resolve();
  };
  const watcher = watch(folder, look);
  look();
  await promise;
  watcher.close();
}
