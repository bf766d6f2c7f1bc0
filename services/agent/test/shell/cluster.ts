import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { connectNats, type NatsBus, subjectsOf } from '@mesobus/sdk/bus';
import { startNatsServer } from '@mesobus/sdk/testing';
import type { ExecutionContext } from 'ava';
import { FakeLeader } from './fake-leader.ts';

const maxLastLines = 20;
const program = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

export interface AgentProcess {
  readonly child: ChildProcess;
  readonly lines: string[];
  readonly exited: Promise<number | null>;
  /** Resolves with the first line that matches; rejects if the process ends without. */
  said(pattern: RegExp): Promise<string>;
}

/** Agents as processes, on a NATS server of their own. */
export class Cluster {
  readonly leader: FakeLeader;
  readonly #t: ExecutionContext;
  readonly #url: string;
  #alive = 0;
  /** What agents said that have ended. */
  readonly #last: string[] = [];

  private constructor(t: ExecutionContext, url: string, bus: NatsBus) {
    this.#t = t;
    this.#url = url;
    this.leader = new FakeLeader(bus, subjectsOf('main'), 'a');
    // A test that waits for an agent that could not start fails with what that has said.
    this.leader.hopeless = () =>
      this.#alive === 0 && this.#last.length > 0 ? `no agent lives:\n${this.#last.join('\n')}` : undefined;
  }

  static async start(t: ExecutionContext): Promise<Cluster> {
    const server = await startNatsServer();
    t.teardown(() => server.stop());
    const bus = await connectNats({ servers: server.url, name: 'leader' });
    t.teardown(() => bus.close());
    const cluster = new Cluster(t, server.url, bus);
    await bus.flush();
    return cluster;
  }

  agent(workDir: string, resources = 'cpus:4;mem:1024', ...more: string[]): AgentProcess {
    return this.agentWithin([], workDir, resources, ...more);
  }

  /** Has it executed by another program. */
  agentWithin(within: readonly string[], workDir: string, resources: string, ...more: string[]): AgentProcess {
    const options = ['--name', 'a', '--work-dir', workDir, '--nats', this.#url, '--resources', resources, ...more];
    const node = ['-C', 'mesobus-source'];
    const [file = '', ...args] = [...within, process.execPath, ...node, program, ...options];
    const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#t.teardown(() => child.kill('SIGKILL'));
    const lines: string[] = [];
    const reader = createInterface({ input: child.stderr as Readable }).on('line', (line) => lines.push(line));
    this.#alive += 1;
    const exited = once(child, 'close').then(([code, signal]) => {
      this.#alive -= 1;
      this.#last.push(`agent ${child.pid} has ended by ${signal ?? code}`, ...lines.slice(-maxLastLines));
      this.leader.wake();
      return code as number | null;
    });
    const ended = exited.then(() => Promise.reject(new Error(`the agent has ended:\n${lines.join('\n')}`)));
    ended.catch(() => {});
    const said = async (pattern: RegExp): Promise<string> => {
      for (;;) {
        const line = lines.find((one) => pattern.test(one));
        if (line !== undefined) return line;
        await Promise.race([once(reader, 'line'), ended]);
      }
    };
    return { child, lines, exited, said };
  }

  async registrations(count: number): Promise<void> {
    await this.leader.until(() => this.leader.registrations.length >= count);
  }
}
