import { EventEmitter, once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { LocalCluster } from '@mesobus/cli/local-cluster';
import { type Offer, type Operation, Scheduler, type Task, type TaskStatus } from '@mesobus/sdk/scheduler';
import type { Tally } from './workload.ts';

/** How the tasks of a kind come to their end. */
interface Kind {
  /** What follows on the line that says that it runs. */
  readonly after: (seconds: number) => string;
  readonly before?: string;
  readonly end: 'TASK_FINISHED' | 'TASK_FAILED' | 'TASK_KILLED';
}

const kinds = {
  short: { after: () => '', end: 'TASK_FINISHED' },
  sleeps: { after: (seconds) => `; exec sleep ${seconds}`, end: 'TASK_FINISHED' },
  fails: { after: () => '; exit 3', end: 'TASK_FAILED' },
  'leaves a daemon': { after: () => '; setsid sleep 600 &', end: 'TASK_FINISHED' },
  'is killed': { after: () => '; exec sleep 600', end: 'TASK_KILLED' },
  'is killed and resists': {
    before: "trap '' TERM; ",
    after: () => '; while :; do sleep 600; done',
    end: 'TASK_KILLED',
  },
  'in a group': { after: (seconds) => `; exec sleep ${seconds}`, end: 'TASK_FINISHED' },
} as const satisfies Record<string, Kind>;
type KindName = keyof typeof kinds;
const kindNames = Object.keys(kinds) as KindName[];

const groupSize = 2;
const mostAtOnce = 8;
/** A group with its executor takes no more. */
const roomyCpus = 0.3;
const killGraceMs = 200;
const longestSeconds = 2;
const small = { cpus: 0.1, mem: 16 };
const executor = {
  id: 'shared',
  command: {
    argv: [
      process.execPath,
      '-C',
      'mesobus-source',
      fileURLToPath(new URL('../test/shell/plain-executor.ts', import.meta.url)),
    ],
  },
  resources: { cpus: 0.1, mem: 256 },
} as const;
const executorTasks = ['e1', 'e2', 'e3'];
const askAgainMs = 500;

/** What was told of a task. */
interface Book {
  /** Of the executor's tasks there is none. */
  readonly kind?: KindName;
  /** The uuids of its updates, by state. */
  readonly updates: Map<string, Set<string>>;
  /** On a machine that is busy enough an agent that is killed again and again is out of reach for too long. */
  wasUnreachable: boolean;
  /** Those of its group. */
  readonly group: Book[];
  end?: TaskStatus;
}

/**
 * A framework that keeps a number of tasks of every kind going on one agent: they end well or badly, are killed sooner or
 * later, alone, in groups, and in an executor that they share and that is to outlive every agent.
 */
export class CrashLoad {
  readonly #scheduler: Scheduler;
  readonly #slots: number;
  /** Each task writes its id into it as the first thing that it does. */
  readonly #ran: string;
  readonly #signal: AbortSignal;
  readonly #say: (line: string) => void;
  readonly #books = new Map<string, Book>();
  readonly #happened = new EventEmitter();
  readonly #timers = new Set<NodeJS.Timeout>();
  /** What the executor has answered. */
  readonly #answers: string[] = [];
  #agentId = '';
  #executorEnded = false;
  #resting = false;

  constructor(
    cluster: LocalCluster,
    { slots, signal, say }: { slots: number; signal: AbortSignal; say: (line: string) => void },
  ) {
    this.#slots = slots;
    this.#signal = signal;
    this.#say = say;
    this.#ran = path.join(cluster.dir, 'agents', 'ran');
    this.#happened.setMaxListeners(0);
    const { nats, token } = cluster;
    this.#scheduler = new Scheduler(
      { nats, token, cluster: cluster.cluster, framework: { name: 'crash-load', failoverTimeoutMs: 600_000 } },
      {
        resourceOffers: (offers) => {
          for (const offer of offers) this.#onOffer(offer);
        },
        statusUpdate: (status) => this.#onStatus(status),
        frameworkMessage: (_agentId, _executorId, data) => {
          this.#answers.push(Buffer.from(data).toString());
          this.#happened.emit('anything');
        },
        executorLost: (_agentId, executorId) => {
          this.#executorEnded ||= executorId === executor.id;
          this.#happened.emit('anything');
        },
        error: (error) => say(`framework: ${error.message}`),
      },
    );
  }

  async start(): Promise<void> {
    await this.#scheduler.start();
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    await this.#scheduler.stop();
  }

  get launched(): number {
    return this.#books.size;
  }

  get underWay(): number {
    return [...this.#books.values()].filter(({ end }) => end === undefined).length;
  }

  /** Resolves when a task has come to another state. */
  async news(): Promise<void> {
    await once(this.#happened, 'news', { signal: this.#signal });
  }

  /** Waits for the executor's tasks to run and for its answer. @returns which process it is */
  async executorProcess(words: string): Promise<string> {
    await this.#until(() => executorTasks.every((id) => this.#books.get(id)?.updates.has('TASK_RUNNING')));
    return this.#talk(words);
  }

  /** Launches nothing more, has the executor end, and waits for the end of all. */
  async rest(): Promise<void> {
    this.#resting = true;
    await this.#talk('finish');
    await this.#until(() => this.underWay === 0);
    const shutDown = () => void this.#scheduler.shutdownExecutor(this.#agentId, executor.id).catch(() => undefined);
    await this.#repeat(shutDown, () => this.#executorEnded);
  }

  /** Judges by the file on disk and by what was told. */
  judge(): {
    readonly outcome: Tally & { readonly tasks: number };
    readonly ends: object;
    readonly unreachable: number;
    readonly wrong: string[];
  } {
    const lines = existsSync(this.#ran) ? readFileSync(this.#ran, 'utf8').split('\n').slice(0, -1) : [];
    const ran = new Set(lines);
    const books = [...this.#books].map(([id, book]) => ({ id, ...book }));
    const commands = books.filter(({ kind }) => kind !== undefined);
    // One that was killed may have been so before it ran, and one that has not run may not have left a line.
    const lost = commands.filter(({ id, end }) => end !== undefined && mustHaveRun(end) && !ran.has(id));
    const ghosts = commands.filter(({ id, end }) => end !== undefined && hasNotRun(end) && ran.has(id));
    const strange = commands.filter((book) => !endsWell(book));
    const twice = commands.filter(({ updates }) => [...updates.values()].some((uuids) => uuids.size > 1));
    const ends = Object.groupBy(commands, ({ end }) => (end === undefined ? 'none' : end.state));
    return {
      outcome: {
        tasks: books.length,
        lost: lost.length,
        doubled: lines.length - ran.size,
        unreported: this.underWay,
        reported_twice: twice.length,
      },
      unreachable: books.filter(({ wasUnreachable }) => wasUnreachable).length,
      ends: Object.fromEntries(Object.entries(ends).map(([state, of]) => [state, of.length])),
      wrong: [
        ...lost.map(({ id, end }) => `${id}: ${end?.state}, and has not run`),
        ...ghosts.map(({ id, end }) => `${id} has run: ${end?.state} ${end?.message}`),
        ...strange.map(
          ({ id, kind, end }) =>
            `${id} (${kind}, ${ran.has(id) ? 'ran' : 'not run'}): ${end?.state} ${end?.reason} ${end?.message} ${end?.at?.toISOString()}`,
        ),
        ...twice.map(({ id, updates }) => `${id}: ${[...updates].map(([state, all]) => `${all.size} ${state}`)}`),
      ],
    };
  }

  #onOffer(offer: Offer): void {
    this.#agentId = offer.agentId;
    const fits = Math.floor((offer.amounts.cpus ?? 0) / roomyCpus);
    const room = this.#resting ? 0 : Math.min(this.#slots - this.underWay, fits, mostAtOnce);
    const operations: Operation[] = [];
    const tasks: Task[] = [];
    for (let count = 0; count < room; count += 1) {
      const kind = kindNames[this.launched % kindNames.length] as KindName;
      if (kind === 'in a group') {
        const books: Book[] = [];
        const group = Array.from({ length: groupSize }, () => this.#task(kind, books));
        const pod = { id: `pod-${group[0]?.id}`, resources: small };
        operations.push({ kind: 'launch_group', executor: pod, tasks: group });
      } else tasks.push(this.#task(kind));
    }
    if (!this.#books.has(executorTasks[0] as string) && room > 1) {
      for (const id of executorTasks) {
        this.#books.set(id, { updates: new Map(), wasUnreachable: false, group: [] });
        tasks.push({ id, executor, resources: small });
      }
    }
    if (tasks.length > 0) operations.push({ kind: 'launch', tasks });
    // What is refused is told as a status of each task.
    void this.#scheduler
      .accept(offer, operations, { refuseSeconds: this.#resting ? 3600 : 0.1 })
      .catch((error: Error) => this.#say(`framework: ${error.message}`));
  }

  #task(kind: KindName, group: Book[] = []): Task {
    const id = `task-${this.launched}`;
    const book: Book = { kind, updates: new Map(), wasUnreachable: false, group };
    group.push(book);
    this.#books.set(id, book);
    const { before = '', after, end }: Kind = kinds[kind];
    const seconds = Number((Math.random() * longestSeconds).toFixed(2));
    // Some are killed before they run.
    if (end === 'TASK_KILLED' && Math.random() < 0.2) this.#soon(() => this.#kill(id));
    return { id, command: `${before}echo ${id} >>${this.#ran}${after(seconds)}`, resources: small, killGraceMs };
  }

  #onStatus(status: TaskStatus): void {
    const { taskId, state, uuid, ended } = status;
    const book = this.#books.get(taskId);
    if (book === undefined) throw new Error(`a status of a task that nobody launched: ${taskId}`);
    // What only answers a question has no uuid.
    if (uuid !== undefined) book.updates.set(state, (book.updates.get(state) ?? new Set()).add(uuid));
    if (state === 'TASK_UNREACHABLE') book.wasUnreachable = true;
    if (ended) book.end ??= status;
    if (state === 'TASK_RUNNING' && book.kind !== undefined && kinds[book.kind].end === 'TASK_KILLED') {
      this.#soon(() => this.#kill(taskId));
    }
    this.#happened.emit('news');
    this.#happened.emit('anything');
  }

  #kill(taskId: string): void {
    if (this.#books.get(taskId)?.end === undefined) void this.#scheduler.kill(taskId).catch(() => undefined);
  }

  #soon(act: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      act();
    }, Math.random() * 1_000);
    this.#timers.add(timer);
  }

  /** Says something until the executor has answered: messages may be lost. */
  async #talk(words: string): Promise<string> {
    const answer = (): string | undefined => this.#answers.find((one) => one.startsWith(`${words}: `));
    const data = Buffer.from(words);
    const say = () => void this.#scheduler.sendMessage(this.#agentId, executor.id, data).catch(() => undefined);
    await this.#repeat(say, () => answer() !== undefined);
    return answer()?.split(' ').at(-1) as string;
  }

  async #repeat(act: () => void, isSo: () => boolean): Promise<void> {
    act();
    const again = setInterval(act, askAgainMs);
    try {
      await this.#until(isSo);
    } finally {
      clearInterval(again);
    }
  }

  async #until(isSo: () => boolean): Promise<void> {
    while (!isSo()) await once(this.#happened, 'anything', { signal: this.#signal });
  }
}

const hasNotRun = ({ state, reason }: TaskStatus): boolean =>
  state === 'TASK_DROPPED' || (state === 'TASK_FAILED' && reason === 'REASON_CONTAINER_LAUNCH_FAILED');

/** As its kind says, or not at all; or it was killed with another one of its group, or because nobody knew that it ran. */
function endsWell({ kind, end, group, wasUnreachable }: Book): boolean {
  if (kind === undefined || end === undefined || hasNotRun(end) || end.state === kinds[kind].end) return true;
  if (end.state !== 'TASK_KILLED') return false;
  return wasUnreachable || group.some((peer) => peer.end !== undefined && hasNotRun(peer.end));
}

const mustHaveRun = (end: TaskStatus): boolean => !hasNotRun(end) && end.state !== 'TASK_KILLED';
