import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import type { Stack } from './stack.ts';

/** Each appends a line to a file in its sandbox: started a second time, it leaves a second line. */
const commandFor = (seconds: number): string => `echo ran >>$MESOS_SANDBOX/ran; sleep ${seconds}`;
const lookAgainMs = 200;

/** The hello framework, from a container, with tasks that are containers of Docker. */
export class Burst {
  readonly frameworkId: Promise<string>;
  readonly ended: Promise<{ readonly exitCode: number; readonly lines: readonly string[] }>;
  readonly #lines: string[] = [];
  #isOver = false;

  /** @param seconds - that each task takes */
  constructor(stack: Stack, tasks: number, seconds: number) {
    const flags = ['--tasks', String(tasks), '--mem', '16', '--image', 'base', '--command', commandFor(seconds)];
    const child = stack.start('run', '--rm', '-T', 'hello', ...flags);
    const registered = Promise.withResolvers<string>();
    this.frameworkId = registered.promise;
    for (const stream of [child.stdout, child.stderr])
      createInterface({ input: stream as Readable }).on('line', (line) => {
        this.#lines.push(line);
        const id = /^registered as (\S+)/.exec(line)?.[1];
        if (id !== undefined) registered.resolve(id);
      });
    this.ended = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => {
        this.#isOver = true;
        registered.reject(new Error(`hello ended before it was registered: ${this.#lines.slice(-5).join('\n')}`));
        resolve({ exitCode: signal === null ? (code ?? 1) : 1, lines: this.#lines });
      });
    });
    for (const promise of [this.frameworkId, this.ended]) promise.catch(() => undefined); // asked for later
  }

  /** Waits until so many tasks have run, or hello has ended. */
  async running(count: number): Promise<void> {
    while (!this.#isOver && this.count('TASK_RUNNING') < count) await wait(lookAgainMs);
  }

  count(state: string): number {
    return this.#lines.filter((line) => line.includes(`  ${state}  `)).length;
  }
}

/** How often each task of a framework was started, by what it has left on any agent. */
export function startsOf(agentsDir: string, frameworkId: string): Map<string, number> {
  const starts = new Map<string, number>();
  for (const agent of readdirSync(agentsDir)) {
    const framework = join(agentsDir, agent, 'sandboxes', frameworkId);
    for (const task of foldersIn(framework))
      for (const container of foldersIn(join(framework, task))) {
        const lines = linesOf(join(framework, task, container, 'ran'));
        if (lines > 0) starts.set(task, (starts.get(task) ?? 0) + lines);
      }
  }
  return starts;
}

function foldersIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // not on this agent
  }
}

function linesOf(file: string): number {
  try {
    return readFileSync(file, 'utf8').split('\n').length - 1;
  } catch {
    return 0; // it has not run
  }
}
